FROM busybox
RUN mkfifo -m 600 /pipe && mknod /null c 1 3 && mknod -m 640 /disk b 8 1 && chown 1:2 /null
RUN cp /bin/busybox /suid && chown bob /suid && chmod 6755 /suid
RUN touch "/spa ce" '/quo"te' "/-dash" '/*' 2>/dev/null; true
RUN touch "/$(printf 'n%.0s' $(seq 200))" && mkdir -p "/$(printf 'd%.0s/dddddddddddddddddddddddddddddddddddddddddd/' 1 2 3 4 5 6 7 8 9)" && cd /d && ln -s "$(printf 't%.0s' $(seq 150))" long-target
RUN truncate -s 5M /sparse && printf x | dd of=/sparse bs=1 seek=3000000 conv=notrunc 2>/dev/null
RUN chown 3000000:4000000 /sparse && ln /sparse /hard-to-large
RUN printf '\377\376' | xargs -I{} touch /latin-{}
RUN echo a >/a && ln /a /b && ln -s a /s && ln -s /a /abs && ln -s loop /loop
RUN touch -d '1960-01-01 00:00:00' /old; touch -d '2200-01-01 00:00:00' /late
