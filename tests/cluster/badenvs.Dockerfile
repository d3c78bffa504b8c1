# An image of a user's own: the trainer with one more module. `spec.image` of an RLEnvironment names it.
ARG BASE_IMAGE=checkrein/trainer
FROM ${BASE_IMAGE}
COPY badenvs.py /opt/checkrein/lib/python3.11/site-packages/
