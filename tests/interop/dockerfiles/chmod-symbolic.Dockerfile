FROM busybox
COPY --chmod=u=rwX,go=rX dir /dir
COPY --chmod=go-rwx,u+s script /script
COPY --chmod=a+x file /file
