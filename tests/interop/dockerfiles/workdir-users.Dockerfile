FROM busybox
USER bob
WORKDIR /home/bob/made
RUN { id -u; id -g; id -G | tr ' ' '\n' | sort; } >id && stat -c '%U %a' . >mode
USER 5:6
WORKDIR deeper/still
USER root
WORKDIR /root/x
USER bob:staff
WORKDIR /home/bob/made/again
USER 4000
WORKDIR /number
USER 1000
WORKDIR /number/of/bob
