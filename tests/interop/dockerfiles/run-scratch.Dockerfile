FROM scratch
COPY --from=busybox /bin/busybox /busybox
RUN ["/busybox", "touch", "/made"]
RUN ["/busybox", "mkdir", "/other"]
RUN ["/busybox", "touch", "/other/x"]
