FROM busybox
ONBUILD RUN echo $X > /x
ONBUILD   COPY   file   /y
ONBUILD ENV A=1 \
  B=2
ONBUILD ENTRYPOINT ["a", "b"]
onbuild healthcheck NONE
ONBUILD USER bob
