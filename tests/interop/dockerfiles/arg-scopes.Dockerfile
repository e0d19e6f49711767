# build: --build-arg GLOBAL=given --build-arg LOCAL=given --build-arg ENVED=arg
ARG GLOBAL=default
ARG BASE=busybox
ARG UNUSED
FROM ${BASE} AS one
RUN echo "one: $GLOBAL $LOCAL" >/one
ARG GLOBAL
ARG LOCAL=default
RUN echo "one: $GLOBAL $LOCAL" >>/one
FROM ${BASE:-x}:${TAG:-latest}
ARG LOCAL
ARG GLOBAL=redefined
ARG NONE
ARG EMPTY=
ARG FROM_OTHER=$LOCAL-$GLOBAL
ENV ENVED=env
ARG ENVED
RUN echo "two: $GLOBAL $LOCAL ${NONE-unset} ${EMPTY-unset} $FROM_OTHER $ENVED" >/two
COPY --from=one /one /one
LABEL args="$GLOBAL $LOCAL $ENVED"
