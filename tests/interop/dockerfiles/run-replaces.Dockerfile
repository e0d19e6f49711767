FROM everything
USER root
RUN rm -rf /srv/tree && mkdir /srv/tree && echo n > /srv/tree/n
RUN rm /srv/one && mkdir /srv/one && touch /srv/one/x
RUN rm -r /srv/one && ln -s /etc /srv/one
RUN mv /srv/tree /srv/moved
RUN chmod 700 /srv && chown 5:6 /srv/setuid && touch -d @1 /srv/link2
RUN rm -rf /var/lib && mkdir -p /var/lib/new
RUN true
