FROM busybox
USER nobody-here
WORKDIR /made
