"""Measured numbers in status: whatever a float can be, the API server takes it, and it reads as the same float."""

from __future__ import annotations

import math
import re

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from checkrein.api.evidence import FeatureDifference
from checkrein.api.meta import FLOAT_PATTERN


@given(st.floats())
@example(float(np.float32(0.01)))  # 0.009999999776482582: more digits follow the point than count
@example(1.2345678901234567e-4)
@example(-1.7976931348623157e308)
def test_every_float_survives_as_a_string_within_its_bounds(value: float) -> None:
    said = FeatureDifference(name="x", agreed=value, differed=0.0, effect=np.float64(0.5)).dump()
    assert re.fullmatch(FLOAT_PATTERN, said["agreed"])
    assert len(said["agreed"]) <= 26
    read = FeatureDifference.model_validate(said)
    assert read.agreed == value or math.isnan(value)
    assert said["effect"] == "0.5"
