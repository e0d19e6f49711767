# escape=`
FROM busybox
RUN echo a `
  && echo b > C:file
COPY file `
     /x
ENV A=a`
b C=`$A D="`$A" E='`$A' F=\n
RUN echo "$A" > /a
