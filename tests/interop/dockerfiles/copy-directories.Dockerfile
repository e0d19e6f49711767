FROM busybox
COPY dir /new
COPY dir/ /slash
COPY dir /slashes/
COPY dir/. /dot
COPY dir /tmp
COPY empty /empty
COPY empty closed sticky group /together/
COPY closed /closed
COPY sticky /sticky
COPY group /group
COPY many /many
COPY many/1 many/2 /merged/
COPY dir/sub /new
COPY dir/sub /new/sub
WORKDIR /in
COPY dir .
COPY dir/sub sub2
COPY . everything/
