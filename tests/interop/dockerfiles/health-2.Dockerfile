FROM everything
HEALTHCHECK CMD true
