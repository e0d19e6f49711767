FROM busybox
COPY --chown=bob file /name
COPY --chown=bob:staff file /names
COPY --chown=1000 file /number
COPY --chown=:staff file /group
COPY --chown=5:6 dir /dir
COPY --chown=bob:audio link setuid closed /several/
COPY --chown=2000000000:7 file /large
COPY --chown=lp dir/ /made/on/the/way/
COPY --chown=0 other /root
COPY --chown=bob:0 hard1 hard2 /hard/
COPY --chown=bob dir /usr
