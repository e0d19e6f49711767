FROM everything AS one
ENV STAGE=one
LABEL stage=one
USER root
WORKDIR /one
VOLUME /one-volume
EXPOSE 1111
HEALTHCHECK CMD one
FROM one AS two
ENV STAGE=two PREVIOUS=$STAGE
WORKDIR two
FROM two
RUN echo $STAGE $PREVIOUS $PWD >/stages
