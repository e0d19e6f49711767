FROM busybox
ADD --chown=bob:staff archive.tar /chowned/
ADD --chown=bob file /file
ADD --chown=5:6 dir /dir
