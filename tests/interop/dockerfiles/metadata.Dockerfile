FROM everything
MAINTAINER Some One <one@example.org>
STOPSIGNAL SIGTERM
STOPSIGNAL 9
USER ${WHO:-mail}
VOLUME /a
