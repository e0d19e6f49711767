FROM busybox AS other
RUN mkdir /made && echo other >/made/x
FROM busybox
RUN --mount=target=/ctx ls -R /ctx/dir >/listed
RUN --mount=type=bind,source=dir,target=/ctx cat /ctx/a.txt >/a
RUN --mount=type=bind,source=file,target=/mnt/file cat /mnt/file >/b; ls -l /mnt >/dev/null
RUN --mount=type=bind,rw,target=/ctx echo changed >/ctx/file && echo new >/ctx/new && cat /ctx/file >/c
RUN --mount=type=bind,target=/ctx cat /ctx/file >/d
RUN --mount=type=bind,from=other,source=/made,target=/o cp /o/x /e && ! touch /o/y
RUN --mount=from=nginx,src=/etc/nginx,dst=/n cat /n/nginx.conf >/f
WORKDIR /work
RUN --mount=target=rel cat rel/file >/g
