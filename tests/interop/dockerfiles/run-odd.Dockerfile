FROM busybox
RUN true
RUN ["/bin/sh", "-c", "echo \"quoted\" 'single' > /q"]
RUN ["sh", "-c", "echo ü\u00e9\t\\ > /u"]
RUN    echo   spaced     out   >   /s
RUN echo "a	tab" > /t
RUN (echo sub; echo shell) > /sub && { echo grp; } > /grp
RUN echo $0 $# > /zero; set -e; true
RUN [ -f /q ] && echo yes > /test
RUN cd /tmp && pwd > /pwd1
RUN pwd > /pwd2; umask > /umask; ulimit -c >/dev/null; echo $PPID > /dev/null
RUN mkdir /sg && chmod 2775 /sg && mkdir /sg/in && touch /sg/f && chmod 1777 /tmp
RUN touch -d @5 /old && ln /old /older && ln -s /nowhere /dangling && mknod /pipe p
RUN rm -f /older && echo new > /old
RUN mv /bin/[ /bin/[x && ln -s busybox /bin/[
