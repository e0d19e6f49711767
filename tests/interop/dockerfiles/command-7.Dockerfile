FROM everything
ENTRYPOINT ["exec", "top", "a b"]

