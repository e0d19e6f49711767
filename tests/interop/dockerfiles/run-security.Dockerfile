FROM busybox
RUN grep -E '^(Cap(Eff|Bnd|Inh)|NoNewPrivs|Seccomp):' /proc/self/status >/status
RUN cat /proc/self/oom_score_adj >/oom; ls /dev | grep -vE '^(core|sampan)$' | sort >/dev-listed
RUN cat /proc/self/limits | grep -c . >/limits
RUN stat -c '%a %n' /dev/null /dev/shm /proc/kcore >/modes; touch /dev/made 2>/dev/null; touch /proc/made 2>/dev/null; true
RUN wc -l </proc/self/mountinfo | grep -q . && echo ok >/mountinfo
