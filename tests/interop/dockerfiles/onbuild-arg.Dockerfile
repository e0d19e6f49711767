# build: --build-arg VERSION=given
FROM triggers AS one
FROM one
COPY other /other
ONBUILD WORKDIR /kept
