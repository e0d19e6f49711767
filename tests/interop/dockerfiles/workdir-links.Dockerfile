FROM everything
USER 0
WORKDIR /var/link
RUN pwd -P >/pwd
WORKDIR made
WORKDIR /var/link/leafdir/x
RUN ln -s /else /symlinked
WORKDIR /symlinked/y
