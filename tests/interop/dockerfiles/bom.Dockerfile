FROM busybox
RUN echo bom >/bom
ENV A="ünï"