FROM busybox AS alpine
RUN echo stage >/stage
FROM alpine AS busybox
RUN echo second >/second
FROM busybox
COPY --from=alpine /stage /from-stage
