FROM busybox
COPY --chmod=600 file /f
COPY --chmod=0755 file dir /d/
COPY --chmod=4711 script /s
COPY --chmod=700 closed /closed
COPY --chmod=444 link /l
COPY --chmod=640 --chown=bob:staff file /both
COPY --chmod=777 file /made/here/x
ADD --chmod=400 file /added
