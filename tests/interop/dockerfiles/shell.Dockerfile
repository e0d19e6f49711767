FROM busybox
RUN echo $0 >/default
SHELL ["/bin/sh", "-ec"]
RUN echo $- >/flags
CMD shell form
ENTRYPOINT shell entry
HEALTHCHECK CMD shell check
SHELL ["/bin/busybox", "sh", "-c"]
RUN echo three >/three
ONBUILD RUN echo
FROM everything
USER 0
RUN echo $- >/inherited
CMD inherited shell
