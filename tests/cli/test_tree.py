"""The tree of `checkrein status`."""

from __future__ import annotations

from tests.api.objects import pointer
from tests.cli import things

from checkrein.cli.look import tree
from checkrein.cli.objects import Objects
from checkrein.cli.style import GREEN, OFF, Style


def drawn(objects: Objects, **options: bool) -> list[str]:
    return tree.draw(tree.grow(objects), Style(), **options)


def test_what_came_of_what() -> None:
    assert drawn(things.whole()) == [
        "RLEnvironment cartpole           Ready      87405 steps/s",
        " |- TrainingJob cartpole-a       Succeeded  PPO",
        " |  `- PolicyVersion cartpole-1  Verified   mean 498.1, at least 490.1",
        " |     `- AgentDeployment cart   Healthy    stable, 2 of 2 replicas ready",
        " `- TrainingJob cartpole-b       Running    PPO, [#####---------------]  25 %, 30s left, return 120",
    ]


def test_a_candidate_stands_under_its_version_too() -> None:
    step = {"kind": "Canary", "index": 1, "weight": 25, "units": 3}
    agent = things.deployment(wanted="cartpole-2", candidate=pointer("cartpole-2"), step=step, phase="Progressing")
    lines = drawn(Objects([things.env()], [], [things.version(1), things.version(2)], [agent]))
    assert [line.split("  ")[-1] for line in lines if "AgentDeployment" in line] == [
        "stable, 2 of 2 replicas ready",
        "candidate, Canary at 25 %, 2 of 2 replicas ready",
    ]


def test_what_is_named_and_missing_is_shown() -> None:
    lines = drawn(Objects([], [things.job()], [], [things.deployment(wanted="gone-1", stable=None)]), wide=True)
    assert lines[0].startswith("RLEnvironment cartpole  ")
    assert lines[0].endswith("NotFound: what was trained names it, and it is not there")
    assert "AgentDeployment cart" in lines[-1]  # with no version to stand under


def test_wide_tells_why() -> None:
    failed = things.env(phase="Failed", conditions=things.said("Ready", "False", "NotFinite", "reward is nan"))
    assert drawn(Objects([failed]))[0].endswith("Failed  87405 steps/s")
    assert drawn(Objects([failed]), wide=True)[0].endswith("NotFinite: reward is nan")


def test_colours_are_for_terminals() -> None:
    coloured = tree.draw(tree.grow(things.whole()), Style(colours=True))
    assert f"{GREEN}Ready{OFF}" in coloured[0]


def test_programs_get_the_same() -> None:
    (root,) = [node.document() for node in tree.grow(things.whole())]
    first = root["children"][0]
    assert (root["kind"], root["phase"]) == ("RLEnvironment", "Ready")
    assert first["children"][0]["children"][0]["name"] == "cart"
