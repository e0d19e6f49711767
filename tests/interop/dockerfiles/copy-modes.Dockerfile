FROM busybox
COPY setuid setgid locked wide script other /modes/
COPY setuid /s
COPY closed/inside /inside
RUN stat -c '%a %u %g %n' /modes/* /s /inside >/stat
