FROM busybox
ENV D=/data U=bob G=staff S=SIGINT P=8080 L=lab
WORKDIR ${D}/w
ADD --chown=${U}:${G} file ${D}/f
COPY --chown=$U $D/../file ./x$P
EXPOSE ${P}/tcp
LABEL ${L}=${D} "$L.2"="${L}"
STOPSIGNAL $S
VOLUME ${D}/v
USER ${U}:${G}
CMD echo $D
HEALTHCHECK CMD test -d $D
