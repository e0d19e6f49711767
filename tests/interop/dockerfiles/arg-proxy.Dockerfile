# build: --build-arg HTTP_PROXY=http://proxy:1 --build-arg no_proxy=local
FROM busybox
RUN echo $HTTP_PROXY $no_proxy $http_proxy >/proxy
