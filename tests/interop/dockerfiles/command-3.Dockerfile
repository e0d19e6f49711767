FROM everything

CMD ["one", "t wo"]
