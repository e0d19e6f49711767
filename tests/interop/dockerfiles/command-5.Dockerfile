FROM everything
ENTRYPOINT exec  top -b
CMD one  "two"
