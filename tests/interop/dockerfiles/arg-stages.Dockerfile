FROM busybox AS base
ARG VERSION=1
RUN echo $VERSION >/v1
FROM base AS next
RUN echo "[$VERSION]" >/v2
ARG VERSION=2
RUN echo "[$VERSION]" >/v3
ENV VERSION=$VERSION
FROM next
RUN echo "[$VERSION]" >/v4
