FROM busybox AS never
RUN exit 1
FROM missing.example.org/image AS nor-this
RUN exit 2
FROM busybox AS used
RUN echo used >/used
FROM used AS alias
FROM alias
COPY --from=alias /used /copied
