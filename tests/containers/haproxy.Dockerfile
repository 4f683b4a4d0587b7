# HAProxy of Debian's packages under the name of its official image, where that cannot be had.
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}
RUN apt-get update && apt-get install --yes --no-install-recommends haproxy wget && rm -rf /var/lib/apt/lists/*
ENTRYPOINT []
CMD ["haproxy", "-v"]
