FROM busybox
ENV V=/v
VOLUME $V ${V}/x "/q"
VOLUME ["$V/json", "/a b"]
VOLUME [ "/sp" , "/sp2" ]
VOLUME relative ./dot /trail/
