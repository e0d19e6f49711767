FROM busybox AS one
ADD capable.tar /one/
ADD capable.tar /two/
RUN chmod 711 /one/capable && chown 5 /two/capable && cp -a /one /three
FROM busybox
COPY --from=one /one /one
COPY --from=one /two /two
COPY --from=one --chown=7 /one/capable /chowned
COPY --from=one /three /three
COPY script /context
