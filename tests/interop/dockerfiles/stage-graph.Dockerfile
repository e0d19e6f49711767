FROM busybox AS base
RUN echo base > /base
FROM base AS a
RUN echo a > /a
FROM base AS b
COPY --from=a /a /from-a
RUN echo b > /b
FROM a AS c
COPY --from=b /from-a /b /from-b/
COPY --from=0 /base /zero
FROM scratch AS d
COPY --from=c / /
FROM d
COPY --from=2 /b /two
CMD ["x"]
