FROM everything
ENTRYPOINT ["exec", "top", "a b"]
CMD ["one", "t wo"]
