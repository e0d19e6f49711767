FROM busybox
COPY file other /x
