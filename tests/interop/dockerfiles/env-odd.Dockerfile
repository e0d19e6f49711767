FROM busybox
ARG A=1
ENV X=a${A}b Y="q $A q" Z='s $A s' W=\$A
ENV LEGACY some $A "quoted"  two   spaces
ENV P=/a/b/c.tar.gz EMPTY=
ENV P3=${P:-d} P6=${P:+set} P7=${NOPE:+set}x
ENV E1=${EMPTY:-colon} E3=${EMPTY:+a}b
ENV N="${NOPE:-${A:-inner}}"
ENV a=1 \
    b=2 \
# comment within
    c=3
ENV t1=a\ b t2="a\ b" t3='a\ b' t4="a\"b" t5=a\"b t6="a'b" t7='a"b' t8=a\\b t9="a\\b" ta="\$A" tb="a\nb" tc=a"b"'c'd
ENV sp="  lead and trail  " tabs=a	td=x
ENV OLD "quoted legacy"
ENV OLD2 'single' $A
ENV OLD3 a\ b \\ c
ENV eq=a=b=c url=http://x/?q=1&r=$A
ENV $A=name dollar=$ dd=$$ db=$1x amp="$@" 
