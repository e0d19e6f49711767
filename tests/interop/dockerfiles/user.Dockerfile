FROM busybox
RUN mkdir -m 777 /out
USER bob
RUN { id -u; id -g; id -G | tr ' ' '\n' | sort; } >/out/name && env | grep -E '^(HOME|USER)=' >/out/name-env; true
USER bob:staff
RUN { id -u; id -g; id -G | tr ' ' '\n' | sort; } >/out/group
USER 1000
RUN { id -u; id -g; id -G | tr ' ' '\n' | sort; } >/out/number
USER 1234:50
RUN { id -u; id -g; id -G | tr ' ' '\n' | sort; } >/out/unknown && env | grep ^HOME >>/out/unknown
USER lp
RUN { id -u; id -g; id -G | tr ' ' '\n' | sort; } >/out/lp
ARG WHO=mail
USER ${WHO}
RUN umask >/out/umask && touch /out/made && mkdir /out/madedir
COPY file /copied-as-mail
