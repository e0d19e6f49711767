FROM busybox
RUN mkdir -p /vol && echo before >/vol/before
VOLUME /vol
RUN echo after >/vol/after
COPY file /vol/copied
VOLUME ["/json one", "/json/two"]
VOLUME /several /in/one ${X:-/default}
VOLUME relative
ENV V=/variable
VOLUME $V
RUN mkdir -p /variable && echo x >/variable/x
