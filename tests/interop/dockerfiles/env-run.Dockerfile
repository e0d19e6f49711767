# Of sampan's package cache three variables tell.
FROM busybox
ENV A="a b" B='$A' C="$A"
RUN echo "$A|$B|$C|$D|${E:-e}" >/env
ARG D=arg
RUN echo "$D" >/arg && env | grep -vE '^(HOSTNAME|HOME|PWD|SHLVL|OLDPWD|PIP_CACHE_DIR|UV_CACHE_DIR|UV_LINK_MODE)=' | sort >/all
RUN ["sh", "-c", "echo $A >/json"]
USER bob
RUN echo $HOME >/tmp/home; pwd >/tmp/pwd
