FROM busybox
COPY . /all
COPY dir /dir
ADD *.txt /txt/
