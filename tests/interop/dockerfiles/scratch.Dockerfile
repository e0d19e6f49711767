FROM scratch
COPY file /
COPY dir /d/
ENV A=1
CMD ["/file"]
