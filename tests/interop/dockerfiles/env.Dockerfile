FROM everything
ENV A=1 B="two words" C='single $A' D=\$A E="$A" F=${A}x
ENV G legacy form  with   spaces
ENV H= I="" J=''
ENV A=changed OLD=$A
ENV K=${A:-no} L=${MISSING:-default} M=${A:+yes} N=${MISSING:+no} O="${EMPTY:-was empty}"
ENV PATH=/first:$PATH
ENV Q="a\"b\\c" R='a\b' S=a\ b T=a\\b
ENV U="multi \
line" V=\
next
ENV INHERITED="$INHERITED, and more"
ENV W=$A$B X=${A}${B}_$C Y="'" Z='"'
ENV _under=1 with.dot=2 with-dash=3
ENV TAB="a	b" HASH=a#b URL=http://x/?y=z&a=b
LABEL all="$A $B $C"
