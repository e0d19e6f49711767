FROM busybox AS lib
ONBUILD COPY file /from-trigger
ONBUILD RUN echo ran >/ran
ONBUILD WORKDIR /triggered
ONBUILD USER bob
RUN echo lib >/lib
FROM lib AS app
USER root
RUN pwd >/pwd
FROM app
RUN echo last >/last
