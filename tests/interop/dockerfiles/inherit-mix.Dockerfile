FROM everything AS one
ENV PATH=/x:$PATH INHERITED=
LABEL kept= base=changed
EXPOSE 80/udp
VOLUME /inherited /more
STOPSIGNAL 9
SHELL ["/bin/sh", "-c"]
USER root
WORKDIR /
FROM one
ENTRYPOINT []
CMD []
HEALTHCHECK NONE
FROM one
COPY --from=1 /srv/one /one
ENTRYPOINT ["/e"]
