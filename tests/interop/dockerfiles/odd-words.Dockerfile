FROM busybox
ARG A=NAME
ARG ${A}D=1 "B"=2 C\D=3
ARG $A
ENV X=$NAMED/$B/$CD
ONBUILD ENV trailing=space 
ENV tab=a	next="b	c" 	last=\	
LABEL $A=$A ${A}S='$A' "a $A b"="\"$A\"" \$A=\\$A
LABEL x="a\tb\n" y=a\tb z='a\tb'
ENV Q1="it's" Q2='say "hi"' Q3=a"b c"d'e f'g Q4="" Q5=''"" Q6=\"\'
ENV legacy  $A "quoted" 'single' \  trailing  
LABEL legacy  value "with $A" = sign
EXPOSE "80" '81'/udp 8\2
VOLUME "/quoted" /$A [json,not]
USER "bo"b$UNSET
WORKDIR "/a b"/$A/'$A'
WORKDIR $UNSET
STOPSIGNAL "SIGTERM"
CMD echo "$A" '$B' \$C	tab
SHELL ["/bin/sh", "-c"]
HEALTHCHECK CMD test "$A" = '$A' 
