FROM busybox
RUN <<EOF
echo one >/one
echo "$HOME" >/where
EOF
RUN <<-EOT
	echo chomped >/chomped
	EOT
RUN cat <<A >/a && cat <<B >/b
text a $HOME
A
text b
B
ARG X=arg
RUN <<'EOF'
echo "$X" >/x
EOF
RUN <<EOF
#!/bin/awk -f
BEGIN { print "awk" >"/awk" }
EOF
RUN sh <<EOF
echo piped >/piped
EOF
