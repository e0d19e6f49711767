FROM busybox
COPY file /to/a/new/name
COPY file /to/directory/
COPY file other script /several/
COPY zero file /
COPY file .
COPY script ./renamed
WORKDIR /work/here
COPY file .
COPY file ..
COPY file ./
COPY other name
COPY wide ../../up
COPY file /tmp
COPY file /tmp/
COPY /file /leading
COPY ./file ./dotted
COPY dir/../file /climbed
COPY ../file /above
COPY file /trailing/./dot/../x
COPY file //double//slash
