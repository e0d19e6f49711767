FROM busybox
RUN ln -s /srv/target /dang && ln -s ../../../out /climb && ln -s missing /rel
COPY file /dang
COPY file /climb
COPY dir /rel
