FROM busybox AS First
RUN mkdir -p /a/b && echo 1 >/a/b/1 && chown 5:6 /a/b/1 && chmod 600 /a/b/1 && ln -s b /a/l && ln -s /a/b/1 /abs && mkfifo /a/pipe
RUN mkdir -m 1777 /sticky && mkdir -m 700 /a/closed && chown 9 /a/closed
FROM scratch AS second
COPY --from=first /a /a
COPY --from=0 /a/l/1 /through
COPY --from=FIRST /abs /abs
COPY --from=first /sticky /sticky
COPY --from=first /a/l /l
COPY --from=first /a/l/ /l2/
FROM busybox
COPY --from=second / /all
COPY --from=1 /a/b /b/
COPY --from=second /a/* /globbed/
