FROM everything
ENTRYPOINT exec  top -b
CMD ["one", "t wo"]
