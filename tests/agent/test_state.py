"""Which word counts, and who decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.agent.graphs import CARTPOLE, always

from checkrein.agent.policies import LoadError, Policy, build, key
from checkrein.agent.state import FORMER_KEPT, State, newer
from checkrein.api.deployment import AgentDeployment, AgentDeploymentSpec, AgentDeploymentStatus, PolicyPointer
from checkrein.api.digests import sha256
from checkrein.api.meta import ObjectMeta
from checkrein.api.policy import Artifact
from checkrein.api.tasks import ManifestFile, PolicyManifest


def pointer(name: str) -> PolicyPointer:
    artifact = Artifact(bucket="policies", key="k", version_id="v", digest=sha256(name.encode()), size=1)
    return PolicyPointer(name=name, artifact=artifact, interface=CARTPOLE)


def policy(name: str) -> Policy:
    model = always(0)
    file = ManifestFile(path="policy.onnx", digest=sha256(model), size=len(model))
    manifest = PolicyManifest(files=[file], interface=CARTPOLE, algorithm="PPO", opset=17)
    return build(pointer(name), manifest, {"policy.onnx": model})


def word(
    *,
    epoch: int = 1,
    generation: int = 1,
    uid: str = "a",
    born: int = 1,
    stable: str = "",
    candidate: str = "",
    **spec: Any,
) -> AgentDeployment:
    metadata = ObjectMeta(
        name="x", uid=uid, generation=generation, creation_timestamp=datetime(2026, 1, born, tzinfo=UTC)
    )
    status = AgentDeploymentStatus(
        epoch=epoch,
        stable=pointer(stable) if stable else None,
        candidate=pointer(candidate) if candidate else None,
    )
    made = AgentDeploymentSpec.model_validate({"policyVersion": "p", **spec})
    return AgentDeployment(metadata=metadata, spec=made, status=status)


@pytest.mark.parametrize(
    ("current", "incoming", "wanted"),
    [
        pytest.param(None, word(), True, id="the first word counts"),
        pytest.param(word(), word(), True, id="the same word again counts"),
        pytest.param(word(epoch=2), word(epoch=1), False, id="a lower epoch is ignored"),
        pytest.param(word(generation=2), word(generation=1), False, id="a lower generation is ignored"),
        pytest.param(
            word(epoch=2, generation=1),
            word(epoch=1, generation=2),
            False,
            id="a higher generation does not excuse a lower epoch",
        ),
        pytest.param(
            word(epoch=1, generation=2),
            word(epoch=2, generation=1),
            False,
            id="a higher epoch does not excuse a lower generation",
        ),
        pytest.param(word(epoch=1), word(epoch=2), True, id="a higher epoch counts"),
        pytest.param(
            word(epoch=9), word(epoch=0, uid="b", born=2), True, id="a namesake created later starts counting anew"
        ),
        pytest.param(word(uid="b", born=2), word(epoch=9, born=1), False, id="a namesake that is gone does not return"),
    ],
)
def test_newer(current: AgentDeployment | None, incoming: AgentDeployment, wanted: bool) -> None:
    assert newer(current, incoming) is wanted


def state(*words: AgentDeployment) -> State:
    """After these words, with every policy that they want loaded at once."""
    made = State()
    for each in words:
        made.accept(each)
        for wanted in made.wanted().values():
            if key(wanted) not in made.loaded:
                made.add(policy(wanted.name))
    return made


def acting(made: State) -> str | None:
    return made.acting.name if made.acting else None


def test_nobody_acts_before_the_stable_policy_is_loaded() -> None:
    made = State()
    made.accept(word(stable="p-1"))
    assert (acting(made), made.ready, made.reports()[0].reason) == (None, False, "Loading")
    made.add(policy("p-1"))
    assert (acting(made), made.ready) == ("p-1", True)


def test_a_candidate_is_loaded_and_does_not_act() -> None:
    made = state(word(stable="p-1", candidate="p-2"))
    assert acting(made) == "p-1"
    assert [(p.name, p.ready) for p in made.reports()] == [("p-1", True), ("p-2", True)]


def test_a_former_policy_in_memory_is_reported_so_that_going_back_to_it_need_not_wait() -> None:
    made = state(word(stable="p-1"), word(stable="p-2", epoch=2))
    assert [(p.name, p.ready) for p in made.reports()] == [("p-2", True), ("p-1", True)]


def test_the_epoch_reported_is_that_of_who_acts_not_the_last_one_heard() -> None:
    made = state(word(stable="p-1", epoch=1))
    made.accept(word(stable="p-2", epoch=2))
    assert (made.acting_epoch, acting(made)) == (1, "p-1")
    made.add(policy("p-2"))
    assert (made.acting_epoch, acting(made)) == (2, "p-2")


def test_a_word_without_a_stable_policy_leaves_the_one_that_acts() -> None:
    assert acting(state(word(stable="p-1", epoch=1), word(epoch=2))) == "p-1"


def test_an_episode_stays_with_its_policy_after_a_switch_and_after_a_rollback() -> None:
    made = state(word(stable="p-1", epoch=1), word(stable="p-2", epoch=2))
    first, second = key(pointer("p-1")), key(pointer("p-2"))
    assert [made.standing(k).name for k in (first, second, "")] == ["p-1", "p-2", "p-2"]  # type: ignore[union-attr]
    made.accept(word(stable="p-1", epoch=3))
    assert [made.standing(k).name for k in (first, second, "")] == ["p-1", "p-2", "p-1"]  # type: ignore[union-attr]


def test_former_policies_are_bounded_and_their_episodes_go_on_under_stable() -> None:
    made = state(*(word(stable=f"p-{n}", epoch=n) for n in range(1, 8)))
    assert sorted(p.name for p in made.loaded.values()) == ["p-5", "p-6", "p-7"]
    assert len(made.loaded) == FORMER_KEPT + 1
    moved = made.standing(key(pointer("p-1")))
    assert moved
    assert moved.name == "p-7"


def test_what_is_no_longer_wanted_leaves_memory_and_report() -> None:
    made = state(word(stable="p-1", candidate="p-2", epoch=1), word(stable="p-1", epoch=2))
    assert [p.name for p in made.loaded.values()] == ["p-1"]
    made.add(policy("p-2"))
    assert [p.name for p in made.loaded.values()] == ["p-1"], "a load that ends too late is dropped"


def test_a_failure_is_reported_until_a_person_changes_the_spec() -> None:
    made = state(word(stable="p-1", epoch=1))
    made.accept(word(stable="p-1", candidate="p-2", epoch=2))
    made.fail(pointer("p-2"), LoadError("DigestMismatch", "changed", permanent=True))
    made.accept(word(stable="p-1", candidate="p-2", epoch=3))
    assert [(p.name, p.reason) for p in made.reports()] == [("p-1", ""), ("p-2", "DigestMismatch")]
    made.accept(word(stable="p-1", candidate="p-2", epoch=3, generation=2))
    assert made.reports()[1].reason == "Loading"


def test_a_draining_replica_is_not_ready() -> None:
    made = state(word(stable="p-1"))
    made.draining = True
    assert not made.ready


PERSON = {"reason": "a sensor fault", "by": "ops"}


def test_a_fallback_is_looked_up_and_loaded_before_it_is_needed() -> None:
    made = state(word(stable="p-2", fallback={"policyVersion": "p-1"}))
    assert made.unresolved() == ("p-1",)
    made.resolve(pointer("p-1"))
    assert (made.unresolved(), [p.name for p in made.wanted().values()]) == ((), ["p-2", "p-1"])
    made.add(policy("p-1"))
    assert [c.policy.name for c in made.choices(None, made.acting)] == ["p-2", "p-1"]  # type: ignore[union-attr]


def test_a_name_that_the_status_knows_needs_no_looking_up() -> None:
    made = state(word(stable="p-2", candidate="p-3", fallback={"policyVersion": "p-3"}))
    assert made.unresolved() == ()


def test_a_name_is_looked_up_anew_after_a_change_of_the_spec() -> None:
    made = state(word(stable="p-2", fallback={"policyVersion": "p-1"}))
    made.fail_name("p-1", LoadError("PolicyVersionNotFound", "there is none", permanent=False))
    assert [(p.name, p.reason) for p in made.reports()][1:] == [("p-1", "PolicyVersionNotFound")]
    made.resolve(pointer("p-1"))
    made.accept(word(stable="p-2", fallback={"policyVersion": "p-1"}, generation=2))
    assert made.unresolved() == ("p-1",)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        pytest.param({}, False, id="while the stable policy is loading"),
        pytest.param({"fallback": {"action": [0]}}, False, id="also where there is a fallback for later"),
        pytest.param({"override": {"mode": "Stop", **PERSON}}, True, id="under a Stop, to say so"),
        pytest.param(
            {"override": {"mode": "Action", "action": [1], "until": "2099-01-01T00:00:00Z", **PERSON}},
            True,
            id="under an action fixed by a person",
        ),
    ],
)
def test_ready_without_a_policy_in_memory(spec: dict[str, Any], wanted: bool) -> None:
    made = State()
    made.accept(word(stable="p-1", **spec))
    assert made.ready is wanted


def test_ready_with_a_fallback_once_the_stable_policy_has_failed() -> None:
    made = State()
    made.accept(word(stable="p-1", fallback={"action": [0]}))
    made.fail(pointer("p-1"), LoadError("StoreUnavailable", "away", permanent=False))
    assert made.ready


def test_rules_that_cannot_be_understood_leave_those_at_hand_in_force() -> None:
    made = state(word(stable="p-1", epoch=1, shield=[{"name": "never-one", "forbid": [1]}]))
    assert made.acting
    before = made.driver(made.acting)
    assert before
    broken = [{"name": "broken", "require": "features.speed <"}]
    made.accept(word(stable="p-1", epoch=1, generation=2, shield=broken))
    after = made.driver(made.acting)
    assert after is not None
    assert after.guard is before.guard
    assert "broken" in " ".join(made.drivers.problems.values())
