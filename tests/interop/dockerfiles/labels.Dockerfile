FROM everything
LABEL base=changed one=1
LABEL "quoted key"="quoted value" 'single'='s' com.example.a.b="x=y"
LABEL legacy form of it
LABEL multi="line \
two" empty= e2=""
LABEL v=$INHERITED w='$INHERITED' x="\$INHERITED"
