FROM everything
ENTRYPOINT exec  top -b

