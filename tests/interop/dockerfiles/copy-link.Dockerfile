FROM busybox
COPY --link file /file
COPY --link --chown=5:6 dir /dir
COPY --link file /new/deep/name
ADD --link archive.tar /packed/
COPY --link --chmod=600 other /d/
