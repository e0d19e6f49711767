FROM busybox AS a
CMD ["first"]
ENTRYPOINT ["keeps"]
FROM a AS b
ENTRYPOINT ["drops"]
FROM b
CMD not a list ["x"]
ENTRYPOINT []
CMD []
LABEL done=
