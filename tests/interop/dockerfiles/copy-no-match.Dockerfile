FROM busybox
COPY *.nothing /nothing/
COPY file *.nothing /something/
COPY dir/*.nothing /nothing
