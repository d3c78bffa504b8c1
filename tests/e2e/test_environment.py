"""Environments that cannot be used say why, in a sentence that names the field."""

from __future__ import annotations

import pytest
from tests.cluster.images import registry
from tests.e2e.conftest import PROBE_SECONDS
from tests.e2e.world import World

ID = "spec.source.gymnasium.id"
THIRD = "step 3 (reset with seed 0)"
UNUSABLE = {
    "unknown": "CartPole-v7",
    "crashes": "bad/Segfault-v0",
    "exits": "bad/Exit-v0",
    "hangs": "bad/Hang-v0",
    "raises": "bad/Raises-v0",
    "nan-observation": "bad/NaNObservation-v0",
    "nan-reward": "bad/NaNReward-v0",
}


@pytest.fixture(scope="module")
def unusable(shared: World) -> World:
    """All of them are probed side by side."""
    for name, id_ in UNUSABLE.items():
        shared.environment(name, id_)
    return shared


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        pytest.param("unknown", "EnvironmentNotFound", "is not registered", id="an id nobody registered"),
        pytest.param("crashes", "EnvironmentCrashed", "SIGSEGV", id="a simulator that crashes"),
        pytest.param("exits", "EnvironmentCrashed", "exit code 3", id="a simulator that ends its process"),
        pytest.param(
            "hangs", "EnvironmentHangs", f"check Deterministic after {PROBE_SECONDS} s", id="a step that never returns"
        ),
        pytest.param("raises", "EnvironmentFailed", "the simulator is not licensed", id="a step that raises"),
        pytest.param("nan-observation", "CheckFailed", f"observation of {THIRD} is NaN", id="NaN as observation"),
        pytest.param("nan-reward", "CheckFailed", f"reward of {THIRD} is NaN", id="NaN as reward"),
    ],
)
def test_an_unusable_environment_says_why(unusable: World, name: str, reason: str, words: str) -> None:
    message = unusable.until_condition("rlenvironment", name, "Ready", "False", reason)
    assert message.startswith(f"{ID}: ")
    assert UNUSABLE[name] in message
    assert words in message
    unusable.until_condition("rlenvironment", name, "Stalled", "True", reason)
    assert unusable.get("rlenvironment", name)["status"]["phase"] == "Failed"


def test_an_image_that_cannot_be_pulled_is_named_and_a_mended_environment_is_probed_again(world: World) -> None:
    image = f"{registry()}/nothing:1"
    world.environment("mended", "CartPole-v1", image=image)
    message = world.until_condition("rlenvironment", "mended", "Ready", "False", "ImagePullBackOff")
    assert image in message
    world.patch("rlenvironment", "mended", {"image": ""})
    world.until_condition("rlenvironment", "mended", "Ready", "True", "Probed")
    assert world.get("rlenvironment", "mended")["status"]["digest"].startswith("sha256:")
