FROM everything
USER 0
WORKDIR /
RUN rm -r /srv/tree
RUN mkdir /srv/tree && echo again >/srv/tree/again
RUN rm /srv/one && rm /var/link
RUN rm -r /srv && echo now a file >/srv
RUN rm /srv && mkdir /srv && touch /srv/empty
RUN rm -rf /bin/wget /bin/vi; mv /bin/awk /bin/awks; mv /var/lib /var/library
RUN mkdir /gone && rmdir /gone
RUN touch /twice
RUN rm /twice
RUN echo back >/twice
COPY dir /srv
RUN rm -r /srv/sub && ln -s / /srv/sub
