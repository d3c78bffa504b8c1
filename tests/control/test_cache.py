"""The cache: of each object the newest state, of each owner its children; and whom a change concerns."""

from __future__ import annotations

from typing import Any

import pytest
from tests.control import builders as b

from checkrein.api.names import labels
from checkrein.control.cache import ABSENCES, Cache, Key, version_of
from checkrein.control.controllers import CONTROLLERS, Scope, concerned


def raw(kind: str, name: str, version: int = 1, uid: str = "", owner: str = "", **more: Any) -> dict[str, Any]:
    uid = uid or f"{name}-uid"
    metadata: dict[str, Any] = {"name": name, "namespace": "games", "uid": uid, "resourceVersion": str(version)}
    if owner:
        metadata["labels"] = labels("trainer", "TrainingJob", owner, f"{owner}-uid")
    return {"kind": kind, "metadata": metadata, **more}


KEY = Key("Job", "games", "j")


@pytest.mark.parametrize(
    ("second", "news"),
    [
        pytest.param(raw("Job", "j", 11), True, id="newer"),
        pytest.param(raw("Job", "j", 9), False, id="older"),
        pytest.param(raw("Job", "j", 10), False, id="the same"),
        pytest.param(raw("Job", "j", 100), True, id="newer, by number and not by text"),
        pytest.param(raw("Job", "j", 11, uid="another"), True, id="the next object of that name"),
        pytest.param(raw("Job", "j", 9, uid="another"), False, id="an earlier object of that name, told late"),
    ],
)
def test_put(second: dict[str, Any], news: bool) -> None:
    cache, first = Cache(), raw("Job", "j", 10)
    assert cache.put(first)
    assert cache.put(second) is news
    assert cache.get(KEY) == (second if news else first)


def test_children_are_found_by_their_owners_uid() -> None:
    cache = Cache()
    for obj in (raw("Pod", "p2", owner="a"), raw("Pod", "p1", owner="a"), raw("Job", "j", owner="a"), raw("Pod", "x")):
        cache.put(obj)
    cache.put(raw("Pod", "y", owner="b"))
    assert [o["metadata"]["name"] for o in cache.children("a-uid")] == ["j", "p1", "p2"]
    assert [o["metadata"]["name"] for o in cache.children("a-uid", "Pod")] == ["p1", "p2"]
    assert cache.children("nobody") == []


def test_a_removed_child_is_nobodys() -> None:
    cache = Cache()
    cache.put(raw("Job", "j", owner="a"))
    assert cache.remove(KEY, 1) == raw("Job", "j", owner="a")
    assert cache.children("a-uid") == []
    assert cache.get(KEY) is None
    assert cache.remove(KEY, 1) is None


@pytest.mark.parametrize(
    ("gone_at", "late", "known"),
    [
        pytest.param(12, raw("Job", "j", 11), None, id="a change before its end -> it stays gone"),
        pytest.param(12, raw("Job", "j", 13, uid="another"), 13, id="the next object of that name -> there it is"),
        pytest.param(9, raw("Job", "j", 10), 10, id="an earlier namesake's end -> it stays"),
        pytest.param(9, raw("Job", "j", 11), 11, id="an earlier namesake's end, and a change -> it stays, changed"),
    ],
)
def test_an_end_counts_for_what_is_older(gone_at: int, late: dict[str, Any], known: int | None) -> None:
    cache = Cache()
    cache.put(raw("Job", "j", 10))
    cache.remove(KEY, gone_at)
    cache.put(late)
    now = cache.get(KEY)
    assert (version_of(now) if now else None) == known
    assert cache.knows(KEY, max(gone_at, version_of(late) if known else 0))


def test_ends_that_are_told_twice_count_as_the_later_one() -> None:
    cache = Cache()
    for version in (12, 10):
        cache.remove(KEY, version)
    assert not cache.put(raw("Job", "j", 11))


def test_only_the_newest_ends_are_remembered() -> None:
    cache, ends = Cache(), [Key("Job", "games", f"j{n}") for n in range(ABSENCES + 1)]
    for key in ends:
        cache.remove(key, 10)
    assert [cache.knows(key, 10) for key in (ends[0], ends[1], ends[-1])] == [False, True, True]


def test_a_child_of_another_owner_under_the_same_name_has_left_the_first() -> None:
    cache = Cache()
    cache.put(raw("Job", "j", owner="a"))
    cache.put(raw("Job", "j", 2, uid="another", owner="b"))
    assert cache.children("a-uid") == []
    assert [o["metadata"]["uid"] for o in cache.children("b-uid")] == ["another"]


def test_objects_are_listed_by_kind() -> None:
    cache = Cache()
    elsewhere = raw("Job", "k")
    elsewhere["metadata"]["namespace"] = "other"
    for obj in (raw("Job", "j2"), raw("Job", "j1"), raw("Pod", "p"), elsewhere):
        cache.put(obj)
    assert set(cache.keys("Job")) == {Key("Job", "games", "j1"), Key("Job", "games", "j2"), Key("Job", "other", "k")}


def own(kind: str, model: Any) -> dict[str, Any]:
    return {"kind": kind, **model.model_dump(mode="json", by_alias=True, exclude_none=True)}


JOB = own("TrainingJob", b.job())
AGENT = own("AgentDeployment", b.agent("cartpole-1"))
ELSEWHERE = {**JOB, "metadata": {**JOB["metadata"], "namespace": "other"}}


def version(name: str, used: bool) -> dict[str, Any]:
    return own("PolicyVersion", b.version(name, usedBy=["agentdeployment/cartpole"] if used else []))


def naming(cache: Cache, kind: str, name: str, by: str) -> list[str]:
    return [obj["metadata"]["name"] for obj in cache.naming(Key(kind, "games", name), by)]


def test_who_names_an_object_is_known_for_as_long_as_it_does() -> None:
    cache = Cache()
    cache.put(AGENT)
    assert naming(cache, "PolicyVersion", "cartpole-1", "AgentDeployment") == ["cartpole"]
    assert naming(cache, "PolicyVersion", "cartpole-1", "TrainingJob") == []
    another = told(own("AgentDeployment", b.agent("cartpole-2")), 10)
    cache.put(another)
    assert naming(cache, "PolicyVersion", "cartpole-1", "AgentDeployment") == []
    assert naming(cache, "PolicyVersion", "cartpole-2", "AgentDeployment") == ["cartpole"]
    cache.remove(Key("AgentDeployment", "games", "cartpole"), version_of(another))
    assert naming(cache, "PolicyVersion", "cartpole-2", "AgentDeployment") == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param("RLEnvironment", "cartpole", id="its environment"),
        pytest.param("Policy", "cartpole", id="its policy"),
        pytest.param("AgentDeployment", "cartpole", id="who is said to use it"),
    ],
)
def test_a_version_names(kind: str, name: str) -> None:
    cache = Cache()
    cache.put(version("cartpole-1", used=True))
    assert naming(cache, kind, name, "PolicyVersion") == ["cartpole-1"]


def told(obj: dict[str, Any], at: int) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(at)}}


def judging(**fields: Any) -> dict[str, Any]:
    """A spec with a strategy."""
    gate = {"name": "errors", "metric": "errors", "test": "NotAbove", "limit": "0.01"}
    return {"strategy": {"canary": {"steps": [{"weight": 50, "units": 5}], "gates": [gate]}, **fields}}


@pytest.mark.parametrize(
    ("known", "obj", "whom"),
    [
        pytest.param([], JOB, {"TrainingJob/a"}, id="itself"),
        pytest.param([], raw("Pod", "p", owner="a"), {"TrainingJob/a"}, id="a child's owner"),
        pytest.param([], raw("Pod", "p"), set(), id="a stranger's pod -> nobody"),
        pytest.param(
            [JOB, ELSEWHERE],
            own("RLEnvironment", b.environment()),
            {"RLEnvironment/cartpole", "TrainingJob/a"},
            id="an environment -> the jobs of its namespace that name it",
        ),
        pytest.param(
            [AGENT],
            version("cartpole-1", used=True),
            {"PolicyVersion/cartpole-1", "AgentDeployment/cartpole"},
            id="a version -> who wants it",
        ),
        pytest.param(
            [AGENT], version("cartpole-2", used=False), {"PolicyVersion/cartpole-2"}, id="a version nobody wants"
        ),
        pytest.param(
            [own("AgentDeployment", b.agent(spec={"fallback": {"policyVersion": "cartpole-2"}}))],
            version("cartpole-2", used=True),
            {"PolicyVersion/cartpole-2", "AgentDeployment/cartpole"},
            id="a version -> who falls back to it",
        ),
        pytest.param(
            [own("AgentDeployment", b.agent(spec=b.override("Pin", policyVersion="cartpole-2")))],
            version("cartpole-2", used=True),
            {"PolicyVersion/cartpole-2", "AgentDeployment/cartpole"},
            id="a version -> who is pinned to it",
        ),
        pytest.param(
            [own("AgentDeployment", b.agent(spec=judging(reference="cartpole-2")))],
            version("cartpole-2", used=True),
            {"PolicyVersion/cartpole-2", "AgentDeployment/cartpole"},
            id="a version -> who judges others against it",
        ),
        pytest.param(
            [own("AgentDeployment", b.agent("cartpole-3", stable=b.pointer("cartpole-2")))],
            version("cartpole-2", used=True),
            {"PolicyVersion/cartpole-2", "AgentDeployment/cartpole"},
            id="a version -> whose stable it is",
        ),
        pytest.param(
            [own("AgentDeployment", b.agent(spec=judging())), version("cartpole-1", used=True)],
            own("RLEnvironment", b.environment()),
            {"RLEnvironment/cartpole", "AgentDeployment/cartpole"},
            id="an environment -> who judges a version of it",
        ),
        pytest.param(
            [AGENT, version("cartpole-1", used=True)],
            own("RLEnvironment", b.environment()),
            {"RLEnvironment/cartpole"},
            id="an environment -> nobody who judges nothing",
        ),
        pytest.param(
            [AGENT, version("cartpole-1", used=False), version("cartpole-2", used=True)],
            AGENT,
            {"AgentDeployment/cartpole", "PolicyVersion/cartpole-1", "PolicyVersion/cartpole-2"},
            id="an agent -> the versions whose usedBy is not true any more",
        ),
        pytest.param(
            [AGENT, version("cartpole-1", used=True), version("cartpole-2", used=False)],
            AGENT,
            {"AgentDeployment/cartpole"},
            id="an agent -> no version whose usedBy is true",
        ),
        pytest.param(
            [version("cartpole-1", used=True)],
            AGENT,
            {"AgentDeployment/cartpole", "PolicyVersion/cartpole-1"},
            id="a deleted agent -> the version that says that it uses it",
        ),
    ],
)
def test_whom_a_change_concerns(known: list[dict[str, Any]], obj: dict[str, Any], whom: set[str]) -> None:
    cache = Cache()
    for one in known:
        cache.put(one)
    assert {f"{key.kind}/{key.name}" for key in concerned(obj, cache)} == whom


def test_a_job_sees_the_newest_version_of_its_policy() -> None:
    cache = Cache()
    scope = Scope(cache, b.SETTINGS, "cluster")
    assert CONTROLLERS["TrainingJob"].observe(b.job(), scope).parent is None
    for name in ("cartpole-9", "cartpole-10", "cartpole-2", "pendulum-11"):
        cache.put(own("PolicyVersion", b.version(name)))
    assert CONTROLLERS["TrainingJob"].observe(b.job(), scope).parent.metadata.name == "cartpole-10"


def test_a_planner_sees_the_environments_of_the_versions_that_it_sees() -> None:
    cache, trained_in = Cache(), own("RLEnvironment", b.environment())
    for obj in (trained_in, version("cartpole-1", used=True), version("cartpole-2", used=True)):
        cache.put(obj)
    scope = Scope(cache, b.SETTINGS, "cluster")
    seen = CONTROLLERS["AgentDeployment"].observe(b.agent("cartpole-1", spec=judging(reference="cartpole-2")), scope)
    assert set(seen.versions) == {"cartpole-1", "cartpole-2"}
    assert {name: e.metadata.uid for name, e in seen.environments.items()} == {
        "cartpole": trained_in["metadata"]["uid"]
    }
    cache.remove(Key("RLEnvironment", "games", "cartpole"), version_of(trained_in))
    assert CONTROLLERS["AgentDeployment"].observe(b.agent("cartpole-1"), scope).environments == {}
