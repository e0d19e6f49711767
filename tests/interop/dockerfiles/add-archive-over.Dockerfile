FROM everything
USER 0
ADD over.tar /srv
ADD over.tar /var/link/
ADD archive.tar /
ADD archive.tar /
