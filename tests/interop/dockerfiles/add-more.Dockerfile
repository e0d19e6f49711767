FROM busybox
WORKDIR /w
ADD archive.tgz .
ADD archive.tar archive.tgz rel/
ADD archive.tar /w/rel
ADD over.tar /
ADD over.tar /srv
ADD file archive.tar dir /mix/
ADD text.tar.gz renamed.tar.gz
ADD link /linked
