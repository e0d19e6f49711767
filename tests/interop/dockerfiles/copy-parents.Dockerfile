FROM busybox
COPY --parents dir/sub/c.txt many/1/x/y /to/
COPY --parents dir/./sub/deep /pivot/
COPY --parents many/*/x /globbed/
COPY --parents **/c.txt /anywhere/
