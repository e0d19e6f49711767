FROM busybox
RUN echo "double $HOME" 'single $HOME' \$escaped >/quotes
RUN echo one; \
    echo two >/two
RUN for i in 1 2 3; do echo $i; done >/loop && \
    if [ -e /loop ]; then echo yes; fi >/if
RUN echo "tab	and  spaces" >/spaces
RUN printf '%s\n' "a\
b" >/joined
RUN exec >/exec; echo $$ | grep -c .
