FROM busybox
ADD archive.tar /tar
ADD archive.tgz /tgz/
ADD archive /unnamed/
ADD single.gz /single/
ADD single.gz /single.gz
ADD text.tar.gz /text/
ADD empty.tar /empty/
ADD archive.tar archive.tgz file /mixed/
ADD archive* /globbed/
ADD dir /dir
ADD file /file
COPY archive.tar /copied/
WORKDIR /in
ADD archive.tar .
ADD archive.tar ./sub/dir
