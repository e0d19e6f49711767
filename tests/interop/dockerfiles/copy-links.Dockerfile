FROM busybox
COPY link /link
COPY link /links/
COPY dirlink /dirlink
COPY dirlink/ /dirlink-slash/
COPY dirlink/a.txt /through
COPY chain/sub/c.txt /chained
COPY dir /dir
COPY lin* /globbed-link/
COPY dirlin* /globbed-dirlink/
COPY dir/up /up
COPY dir/down /down
COPY dir/down/c.txt /through-down
