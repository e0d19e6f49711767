FROM scratch
COPY --from=nginx /etc/nginx /etc/nginx
COPY --from=everything:latest /srv /srv
COPY --from=everything /var/link/leaf /leaf
COPY --from=everything srv/one srv/two ./
COPY --from=alpine etc/alpine-release .
