#   escape=\
# a comment
from busybox
  # indented comment
Run echo a \
    # a comment inside
  && echo b \

  && echo c >/lines
	ENV	TABS=1	MORE=2
RUN echo "# not a comment" >/hash # but this is the shell's
ENV A=b\
c D=e
RUN echo 'one' ; \
# gone
    echo 'two' >/two
copy file\
 /joined
CmD last
