"""What schemathesis cannot guess: a token that the replica gave. Loaded by its process, see test_openapi."""

from __future__ import annotations

import os

import schemathesis
from hypothesis import strategies as st

from checkrein.agent.openapi import EPISODE_FORMAT

TOKEN_VARIABLE = "EPISODE_TOKEN"
schemathesis.openapi.format(EPISODE_FORMAT, st.just(os.environ.get(TOKEN_VARIABLE, "")))
