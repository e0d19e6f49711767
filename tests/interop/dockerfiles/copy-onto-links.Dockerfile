FROM everything
USER root
RUN mkdir -p /real/d && ln -s /real/d /ld && ln -s real/d/f /lf && ln -s ../real /srv/rel && echo o > /real/d/f
COPY file /ld/
COPY file /lf
COPY dir /ld
COPY dir /srv/rel/
COPY file /ld/new/deep/
COPY file /srv/rel/d/../x
WORKDIR /ld/wd
COPY file .
COPY --from=busybox /etc/passwd /ld/pw
