FROM busybox
COPY . /context
COPY . /context
COPY ./ /again/
COPY / /root-of-context
