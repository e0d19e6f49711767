FROM busybox
RUN [ "sh", "-c", "echo json >/json" ]
RUN ['single', 'quotes'] || echo shell >/single
RUN [ -e /json ] && echo test >/test
RUN ["sh", "-c", "echo \"quoted\" \\ \u0041 >/escapes"]
CMD [ "spaced" , "list" ]
ENTRYPOINT [not json]
