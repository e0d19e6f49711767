FROM busybox
COPY --exclude=*.md --exclude=sub/deep dir /dir
COPY --exclude=**/*.txt dir many /two/
COPY --exclude=o* *.txt other /files/
