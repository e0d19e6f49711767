FROM everything
HEALTHCHECK --retries=0 CMD exit 1 || true
