FROM busybox AS users
RUN echo 'new:x:77:88::/:/bin/sh' >>/etc/passwd && echo 'group:x:99:' >>/etc/group
COPY --chown=new file /a
COPY --chown=new:group file /b
FROM scratch
COPY --from=users --chown=12:34 /a /a
COPY --from=users /b /b
COPY --chown=1 file /d
