FROM everything
USER 0
RUN chmod 600 /srv/setuid
RUN chown -R 7:8 /srv
RUN chmod -R go-w /var && chown -h 3 /var/link
RUN touch -d '2001-02-03 04:05:06' /srv/tree/leaf && touch -h -d @1 /var/link
RUN mv /srv/tree /srv/wood && cp -a /srv/wood /srv/copy
RUN ln -f /srv/one /srv/three && echo more >>/srv/one
RUN chmod 1777 /var && chmod 0 /root
RUN true
RUN :>/etc/passwd
