# build: --label given=option --label base=option
FROM everything
LABEL base=dockerfile
