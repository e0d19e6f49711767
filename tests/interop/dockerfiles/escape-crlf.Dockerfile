# escape=`
FROM busybox
RUN echo a `
  && echo b >/crlf
ENV A=`$x B=a` b
COPY file C:`x
LABEL l="x"
