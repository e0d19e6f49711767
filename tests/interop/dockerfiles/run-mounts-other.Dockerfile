# build: --secret id=token,src=PLACE/secret
FROM busybox
RUN --mount=type=tmpfs,target=/scratch echo x >/scratch/x && stat -f -c %T /scratch >/tmpfs
RUN --mount=type=cache,target=/cache echo x >/cache/x && stat -c '%a %u %g' /cache >/c1
RUN --mount=type=cache,target=/cache cat /cache/x >/c2
RUN --mount=type=cache,id=own,target=/var/cache/own,mode=0700,uid=5,gid=6 stat -c '%a %u %g' /var/cache/own >/c3
RUN --mount=type=cache,id=own,target=/var/cache/own,mode=0700,uid=5,gid=6,ro ! touch /var/cache/own/x
RUN --mount=type=cache,id=filled,target=/f,from=everything,source=/srv/tree cat /f/leaf >/c4
RUN --mount=type=secret,id=token cat /run/secrets/token | wc -c >/s1
RUN --mount=type=secret,id=token,target=/etc/token,mode=0440,uid=1,gid=2 stat -c '%a %u %g' /etc/token >/s2
RUN --mount=type=secret,id=missing ls /run/secrets/missing >/s3 2>&1; true
