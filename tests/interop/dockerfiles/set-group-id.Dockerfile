FROM everything
COPY file made/on/the/way/
COPY dir copied
COPY --chown=bob dir owned/dir
COPY --chmod=750 file moded/file
ADD archive.tar unpacked/
COPY --from=busybox /tmp tmp/
WORKDIR as-bob/deep
USER 0
WORKDIR as-root
USER bob
COPY many /srv/tree/../many
