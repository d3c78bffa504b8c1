"""Bad bodies, and what the answer says about them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.graphs import CARTPOLE

from checkrein.agent.messages import Act, Reader
from checkrein.agent.problems import Problem

READER = Reader(CARTPOLE.observation)
GOOD = b"[0,0,0,0]"

BAD: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "malformed", ""),
    "not JSON": (b"hello", "malformed", ""),
    "not UTF-8": (b"\xff\xfe", "malformed", ""),
    "not UTF-8 inside": (b'{"observation":"\xff"}', "wrong-shape", "observation"),
    "no object": (b"[]", "wrong-shape", ""),
    "no observation": (b"{}", "missing-field", "observation"),
    "null observation": (b'{"observation":null}', "wrong-shape", "observation"),
    "a number where a list belongs": (b'{"observation":1}', "wrong-shape", "observation"),
    "too short": (b'{"observation":[0,0,0]}', "wrong-shape", "observation"),
    "too long": (b'{"observation":[0,0,0,0,0]}', "wrong-shape", "observation"),
    "a batch": (b'{"observation":[[0,0,0,0]]}', "wrong-shape", "observation[0]"),
    "a string in it": (b'{"observation":[0,0,"0",0]}', "wrong-shape", "observation[2]"),
    "a boolean in it": (b'{"observation":[0,0,true,0]}', "wrong-shape", "observation[2]"),
    "NaN": (b'{"observation":[0,NaN,0,0]}', "not-finite", "observation[1]"),
    "infinity": (b'{"observation":[0,0,0,-Infinity]}', "not-finite", "observation[3]"),
    "NaN reward": (b'{"observation":[0,0,0,0],"reward":NaN}', "not-finite", "reward"),
    "overflows a double": (b'{"observation":[0,1e999,0,0]}', "wrong-shape", "observation[1]"),
    "overflows the dtype": (b'{"observation":[0,1e39,0,0]}', "out-of-space", "observation[1]"),
    "outside the space": (b'{"observation":[5,0,0,0]}', "out-of-space", "observation[0]"),
    "unknown field": (b'{"observation":%s,"obervation":1}' % GOOD, "unknown-field", "obervation"),
    "reward as a string": (b'{"observation":%s,"reward":"1"}' % GOOD, "wrong-shape", "reward"),
    "a reward for no action": (b'{"observation":%s,"reward":1}' % GOOD, "no-episode", "reward"),
    "a token that is a number": (b'{"observation":%s,"episode":7}' % GOOD, "wrong-shape", "episode"),
    "an end without an episode": (b'{"terminated":true}', "no-episode", "episode"),
    "two ends": (b'{"episode":"x","terminated":true,"aborted":true}', "two-endings", "terminated"),
    "an end that is a number": (b'{"terminated":1,"episode":"x"}', "wrong-shape", "terminated"),
    "deep nesting": (b'{"observation":' + b"[" * 5000, "wrong-shape", "observation[0]"),
    "very deep nesting": (b'{"x":' + b"[" * 500_000, "unknown-field", "x"),
    "NaN and very deep nesting": (b'{"reward":NaN,"x":' + b"[" * 500_000, "malformed", ""),
}


def read(body: bytes) -> Act:
    act = READER.request(body)
    if act.ending is None:
        READER.observation(act)
    return act


@pytest.mark.parametrize(("body", "slug", "field"), BAD.values(), ids=BAD.keys())
def test_a_bad_body_is_refused_by_field(body: bytes, slug: str, field: str) -> None:
    with pytest.raises(Problem) as caught:
        read(body)
    assert (caught.value.slug, caught.value.field, int(caught.value.status)) == (slug, field, 400)
    document = msgspec.json.decode(caught.value.body())
    assert document["detail"]
    assert field in document["detail"] or slug == "malformed"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"observation":[0,0,0,0]}', id="a first step"),
        pytest.param(b'{"observation":[-4.8,1e38,0.41887903,0],"episode":"x","reward":1}', id="at the bounds"),
        pytest.param(b'{"episode":"x","terminated":true,"reward":1}', id="an end without observation"),
        pytest.param(
            b'{"episode":"x","truncated":true,"observation":[9,9,9,9]}', id="an end's observation is not used"
        ),
        pytest.param(b'{"observation":[0,0,0,0],"episode":null,"reward":null}', id="nulls for what is absent"),
    ],
)
def test_a_good_body_passes(body: bytes) -> None:
    read(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
FIELDS = st.sampled_from(["observation", "reward", "episode", "terminated", "truncated", "aborted", "x"])


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | JSON.map(msgspec.json.encode) | st.dictionaries(FIELDS, JSON).map(msgspec.json.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        read(body)
        status = 200
    except Problem as problem:
        status = problem.status
    assert status in (200, 400)
