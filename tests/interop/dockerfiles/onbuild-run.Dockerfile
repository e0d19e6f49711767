FROM triggers
RUN echo own >/own
LABEL own=yes
