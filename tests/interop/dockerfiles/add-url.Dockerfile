FROM busybox
ADD http://127.0.0.1:8000/file /name
ADD http://127.0.0.1:8000/one.txt /directory/
ADD --chown=bob:staff http://127.0.0.1:8000/script /owned/
ADD http://127.0.0.1:8000/archive.tar /packed/
ENV WHERE=http://127.0.0.1:8000
ADD $WHERE/two.txt $WHERE/three.md file /several/
ADD --chmod=755 http://127.0.0.1:8000/script /executable
