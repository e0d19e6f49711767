FROM busybox
ENV F=archive.tar.gz P=/a/b/c
ENV A=${F%.gz} B=${F%%.*} C=${P##*/} D=${P#/a} E=${F/a/o} G=${F//a/o} H=${U-u} J=${E-} I=${P?never}
WORKDIR ${P%/*}
