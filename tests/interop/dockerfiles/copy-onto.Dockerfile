FROM everything
USER 0
COPY file /srv/link
COPY file /srv/one
COPY dir /srv/tree
COPY dir/a.txt /var/link
COPY dir/sub /var/link/
COPY file /var/link/deep/x
COPY script /srv/setuid
COPY closed /srv/tree
COPY file ./
RUN ln -s /nowhere/at/all /dang && ln -s /srv/tree /dirdang
COPY file /dirdang/into
COPY dir /dirdang
