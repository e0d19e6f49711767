FROM busybox
COPY hard1 hard2 /two/
COPY hard1 /one
COPY dir /dir
COPY hard* /globbed/
COPY . /all
FROM busybox AS second
RUN mkdir /h && echo 1 >/h/a && ln /h/a /h/b && ln /h/a /c
COPY --from=0 /two /copied
COPY --from=0 /all/hard1 /all/hard2 /all/dir/hard /three/
RUN ln /copied/hard1 /copied/hard3
