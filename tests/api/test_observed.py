"""What a real API server makes of Dict observations and of wrappers, good and bad."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.objects import changed, environment, policy_version
from tests.api.server import Refused, Server

pytestmark = pytest.mark.controlplane
Raw = dict[str, Any]

CAMERA = {"name": "camera", "type": "Box", "dtype": "uint8", "shape": [84, 84, 3], "low": ["0"], "high": ["255"]}
GEAR = {"name": "gear", "type": "Discrete", "dtype": "int64", "n": 5}
FLATTEN: Raw = {"at": "Policy", "flatten": {}}
STACK: Raw = {"at": "Policy", "stack": {"frames": 4}}
RESCALE: Raw = {"at": "Client", "gymnasium": {"name": "RescaleAction", "kwargs": {"min_action": -1.0}}}
SCALE: Raw = {"at": "TrainingOnly", "scaleReward": {"factor": "0.1"}}
CLIP: Raw = {"at": "TrainingOnly", "clipReward": {"min": "-1", "max": "1"}}


def seeing(observation: Raw, action: Raw | None = None) -> Raw:
    """A policy version with these spaces."""
    policy = changed(policy_version(), "spec.interface.observation", observation)
    return changed(policy, "spec.interface.action", action) if action else policy


def wrapped(*wrappers: Raw) -> Raw:
    """An environment with these wrappers."""
    return changed(environment(), "spec.wrappers", list(wrappers))


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(seeing({"type": "Dict", "members": [CAMERA, GEAR]}), id="a Dict of an image and a number"),
        pytest.param(
            changed(policy_version(), "spec.interface.clientWrappers", "sha256:" + "0" * 64), id="wrappers by digest"
        ),
        pytest.param(wrapped(RESCALE, SCALE, FLATTEN, CLIP, STACK), id="a wrapper of each kind"),
        pytest.param(wrapped(), id="an empty list of wrappers"),
        pytest.param(wrapped(RESCALE, {"at": "Client", "actionMask": {}}), id="a mask of actions"),
    ],
)
def test_good_objects_are_accepted(server: Server, obj: Raw) -> None:
    server.create(obj, dry_run=True)


DICT = {"type": "Dict", "members": [CAMERA]}
MEMBERS = "spec.interface.observation.members"


@pytest.mark.parametrize(
    ("obj", "field", "says"),
    [
        pytest.param(seeing({"type": "Dict"}), MEMBERS, "needs members", id="a Dict without members"),
        pytest.param(seeing({"type": "Dict", "members": []}), MEMBERS, "at least 1", id="an empty Dict"),
        pytest.param(
            seeing({"type": "Dict", "members": [GEAR, GEAR]}), MEMBERS, "Duplicate value", id="a member twice"
        ),
        pytest.param(
            seeing({"type": "Dict", "members": [{**GEAR, "n": None}]}), MEMBERS, "needs n", id="an incomplete member"
        ),
        pytest.param(
            seeing({"type": "Dict", "members": [{**GEAR, "type": "Dict"}]}), MEMBERS, "Unsupported", id="a deeper Dict"
        ),
        pytest.param(
            seeing({"type": "Dict", "members": [{**GEAR, "name": "a.b"}]}), MEMBERS, "should match", id="a dotted key"
        ),
        pytest.param(
            seeing({"type": "Discrete", "n": 2}), "spec.interface.observation.dtype", "needs dtype", id="no dtype"
        ),
        pytest.param(seeing(DICT, DICT), "spec.interface.action", "has no members", id="a Dict of actions"),
        pytest.param(wrapped({"at": "Policy"}), "spec.wrappers[0].at", "exactly one", id="no wrapper"),
        pytest.param(
            wrapped({"at": "Policy", "actionMask": {}}), "spec.wrappers[0].at", "go with at: Client", id="a mask inside"
        ),
        pytest.param(wrapped({**FLATTEN, **STACK}), "spec.wrappers[0].at", "exactly one", id="two in one"),
        pytest.param(
            wrapped({**STACK, "at": "Client"}), "spec.wrappers[0].at", "go with at: Policy", id="a stack at the client"
        ),
        pytest.param(
            wrapped({**RESCALE, "at": "TrainingOnly"}),
            "spec.wrappers[0].at",
            "go with at: Client",
            id="other actions in training alone",
        ),
        pytest.param(
            wrapped({**CLIP, "at": "Policy"}), "spec.wrappers[0].at", "go with at: Policy", id="rewards in the artifact"
        ),
        pytest.param(wrapped(FLATTEN, RESCALE), "spec.wrappers", "come after those at Client", id="the wrong order"),
        pytest.param(wrapped(STACK, SCALE, FLATTEN), "spec.wrappers", "flatten before stack", id="a flattened stack"),
        pytest.param(wrapped(STACK, STACK), "spec.wrappers", "each stand once", id="two stacks"),
        pytest.param(
            wrapped({"at": "Client", "gymnasium": {"name": "NormalizeObservation"}}),
            "spec.wrappers[0].gymnasium.name",
            "Unsupported value",
            id="a wrapper that learns by itself",
        ),
        pytest.param(
            wrapped({"at": "Policy", "stack": {"frames": 1}}), "frames", "greater than or equal to 2", id="one frame"
        ),
        pytest.param(
            wrapped({"at": "TrainingOnly", "clipReward": {"min": "1", "max": "1"}}),
            "clipReward.min",
            "min must be below max",
            id="empty bounds",
        ),
    ],
)
def test_bad_objects_are_refused_at_the_field(server: Server, obj: Raw, field: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        server.create(obj, dry_run=True)
    assert field in str(caught.value)
    assert says in str(caught.value)
