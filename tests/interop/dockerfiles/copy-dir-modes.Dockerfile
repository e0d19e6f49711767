FROM busybox
COPY closed /c1
COPY closed /c2/
COPY sticky group /g/
COPY --chown=lp:50 closed sticky /c4/
COPY closed/inside /c5/inside
COPY empty /e1
COPY empty /e2/
COPY empty/. /e3
COPY dir/sub/.. /d1
COPY ./dir/./sub /d2
COPY dir//sub /d3
COPY /many/1/x/y /m/1
COPY many/[12]/x /m/2
COPY many/*/*/? /m/3/
COPY ["file", "other", "/j/"]
COPY deep /deep
COPY name-* /n/
