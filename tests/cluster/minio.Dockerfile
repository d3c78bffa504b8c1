# MinIO for the demo and the tests: the program that tests/cluster builds from source.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
COPY minio /usr/local/bin/
USER 65532:65532
ENV HOME=/tmp
ENTRYPOINT ["minio"]
