FROM busybox
RUN echo 10.0.0.1 db >>/etc/hosts; echo "search x" >>/etc/resolv.conf; echo changed >/etc/hostname; true
RUN rm -f /etc/hostname; echo y >/etc/new; echo z >/run-file; mkdir -p /run/dir; touch /tmp/t /var/t
