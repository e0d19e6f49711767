FROM busybox
COPY *.txt /txt/
COPY *.m? /md/
COPY [ot]*.txt /class/
COPY [!o]*.txt /not/
COPY f?le /one
COPY dir/*.md /dirmd/
COPY dir/* /dirall/
COPY di* /d/
COPY many/*/x /x/
COPY many/[12]/x/y /y/
COPY a\?b /escaped/
COPY ["[[]odd]", "/odd/"]
COPY ["a b", "/with space/"]
COPY ["a b", "file", "/with more/"]
COPY ünïcödé /ünï/
COPY name-n* /long/
COPY file* fil* /same/
