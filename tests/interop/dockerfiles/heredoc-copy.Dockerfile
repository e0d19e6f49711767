FROM busybox
ENV NAME=world
COPY <<EOF /hello
hello $NAME
EOF
COPY <<'EOF' /quoted
hello $NAME
EOF
COPY <<one <<two file /several/
1
one
2
two
COPY --chown=bob:staff --chmod=640 <<EOF /owned
x
EOF
COPY <<-EOF /tabs
	no tab
		one tab
	EOF
ADD <<EOF /added/name.txt
added
EOF
COPY <<empty /directory/
empty
