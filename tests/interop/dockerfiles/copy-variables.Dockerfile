FROM busybox
ENV DIR=/target NAME=file
ARG SUFFIX=txt
COPY $NAME ${DIR}/a
COPY one.${SUFFIX} $DIR/
COPY ["${NAME}", "$DIR/json"]
COPY one.$SUFFIX two.$SUFFIX ${DIR:-/x}/more/
COPY --chown=${OWNER:-bob}:${GROUP:-staff} file $DIR/owned
