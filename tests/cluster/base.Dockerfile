# What the other images start from where Docker builds them (tests/cluster/kind.py); elsewhere debootstrap makes it.
ARG SUITE
FROM debian:${SUITE}-slim
ARG PACKAGES
RUN apt-get update && apt-get install -y --no-install-recommends ${PACKAGES} && rm -rf /var/lib/apt/lists/*
CMD ["sleep", "infinity"]
