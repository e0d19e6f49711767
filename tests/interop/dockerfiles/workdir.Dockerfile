FROM busybox
WORKDIR /a
WORKDIR b
WORKDIR ../c/./d
RUN pwd >pwd
ENV BASE=/env SUB=x
WORKDIR ${BASE}/$SUB
RUN pwd >pwd
WORKDIR /tmp
WORKDIR /trailing/
WORKDIR "/quo ted/dir"
RUN pwd >/quoted
WORKDIR /
WORKDIR rel
