FROM busybox
COPY . /all
COPY dir /dir
ADD *.md /txt/
