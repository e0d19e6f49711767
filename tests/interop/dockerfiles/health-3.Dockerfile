FROM everything
HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1h --retries=9 CMD ["a", "b c"]
