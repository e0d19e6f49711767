# build: --target MIDDLE
FROM busybox AS first
RUN echo 1 >/1
FROM first AS middle
COPY file /2
CMD ["middle"]
FROM middle AS last
RUN exit 1
