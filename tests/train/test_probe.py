"""The probe on environments that work, and on one for each way not to."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.train.conftest import environment, start

from checkrein.api.tasks import Failure, ProbeReport, ProbeTask
from checkrein.train.failures import Failed
from checkrein.train.probe import probe


def probed(id_: str, seconds: int = 300, **spec: Any) -> ProbeReport:
    try:
        return probe(ProbeTask(environment=environment(id_, **spec), timeout_seconds=seconds))
    except Failed as error:
        return ProbeReport(failure=error.failure)


def bounds(low: str, high: str) -> dict[str, Any]:
    return {"reward": {"bounds": {"min": low, "max": high}}}


def test_a_good_environment_passes_every_check() -> None:
    report = probed("CartPole-v1", **bounds("0", "500"))
    assert report.failure is None
    assert report.interface is not None
    assert report.interface.observation.describe() == "Box(4)"
    assert report.interface.action.describe() == "Discrete(2)"
    assert report.findings.deterministic
    assert (report.findings.steps_per_second or 0) > 0
    assert all(check.passed for check in report.findings.checks)
    assert {c.name for c in report.findings.checks} == {
        "Spaces",
        "API",
        "Finite",
        "EpisodesEnd",
        "RewardBounds",
        "Safety",
        "Deterministic",
    }


def test_a_dict_of_images_and_numbers_passes_too() -> None:
    report = probed("tiny/DictDiscrete-v0")
    assert report.failure is None
    assert report.interface is not None
    assert list(report.interface.observation.leaves) == ["camera", "flags", "icon", "modes", "told", "type"]
    assert report.findings.deterministic


def test_what_is_installed_gets_the_same_digest_each_time() -> None:
    first, second = probed("bad/Fine-v0"), probed("bad/Fine-v0")
    assert first.packages is not None
    assert first.packages == second.packages


BAD = [
    pytest.param("CartPol-v1", {}, "EnvironmentNotFound", "spec.source.gymnasium.id", "CartPole-v1", id="misspelt id"),
    pytest.param(
        "CartPole-v7", {}, "EnvironmentNotFound", "spec.source.gymnasium.id", "CartPole-v1", id="no such version"
    ),
    pytest.param("bad/Segfault-v0", {}, "EnvironmentCrashed", "SIGSEGV", "Deterministic", id="segmentation fault"),
    pytest.param("bad/Exit-v0", {}, "EnvironmentCrashed", "exit code 3", "Deterministic", id="ends the process"),
    pytest.param("bad/Raises-v0", {}, "EnvironmentFailed", "not licensed", "Deterministic", id="raises in step"),
    pytest.param("bad/NaNObservation-v0", {}, "CheckFailed", "Finite", "observation of step 3", id="NaN observation"),
    pytest.param("bad/NaNReward-v0", {}, "CheckFailed", "Finite", "reward of step 3", id="NaN reward"),
    pytest.param("bad/NeverEnds-v0", {}, "CheckFailed", "EpisodesEnd", "spec.safety.maxEpisodeSteps", id="never ends"),
    pytest.param(
        "bad/Fine-v0", bounds("0", "4"), "CheckFailed", "RewardBounds", "spec.reward.bounds", id="out of bounds"
    ),
    pytest.param("bad/DeepObservation-v0", {}, "CheckFailed", "Spaces", "observation.a space Dict", id="Dict of Dicts"),
    pytest.param("bad/NaNMember-v0", {}, "CheckFailed", "Finite", "observation of step 3", id="NaN in a Dict"),
    pytest.param("bad/UnboundedAction-v0", {}, "CheckFailed", "Spaces", "finite bounds", id="unbounded action"),
    pytest.param("bad/ManyBounds-v0", {}, "CheckFailed", "Spaces", "too many to report", id="500 different bounds"),
    pytest.param(
        "CartPole-v1", {"safety": {"features": ["x"]}}, "CheckFailed", "Safety", "has 4 elements", id="a name too few"
    ),
    pytest.param(
        "CartPole-v1",
        {"safety": {"shield": [{"name": "r", "forbid": [2]}]}},
        "CheckFailed",
        "spec.safety: shield rule r: forbid: 2 is no action",
        "they go from 0 to 1",
        id="a rule about an action that is not there",
    ),
    pytest.param(
        "CartPole-v1",
        {"safety": {"shield": [{"name": "r", "maxChange": ["1"]}]}},
        "CheckFailed",
        "spec.safety: shield rule r",
        "needs Box actions",
        id="a rule for another kind of action",
    ),
    pytest.param(
        "CartPole-v1",
        {
            "safety": {
                "features": ["x", "v", "angle", "spin"],
                "shield": [{"name": "r", "require": "features.tilt < 1.0"}],
            }
        },
        "CheckFailed",
        "spec.safety: shield rule r: require: features has no 'tilt'",
        "there are: x, v, angle, spin",
        id="a rule about a feature that has no such name",
    ),
    pytest.param("bad/NoSeed-v0", {}, "CheckFailed", "API", "seed", id="ignores the seed"),
]


@pytest.mark.parametrize(("id_", "spec", "reason", "names", "mend"), BAD)
def test_a_bad_environment_fails_with_a_sentence(id_: str, spec: Any, reason: str, names: str, mend: str) -> None:
    failure = failure_of(probed(id_, **spec))
    assert failure.reason == reason
    assert failure.message.startswith("spec.source.gymnasium.id: ")
    assert names in failure.message
    assert mend in failure.message


def failure_of(report: ProbeReport) -> Failure:
    assert report.failure is not None
    assert report.failure.permanent
    return report.failure


@pytest.mark.parametrize(
    ("source", "reason", "names"),
    [
        pytest.param(
            {"id": "CartPole-v1", "module": "no.such"}, "ModuleNotFound", "spec.source.gymnasium.module", id="no module"
        ),
        pytest.param(
            {"id": "CartPole-v1", "kwargs": {"gravitas": 1}},
            "InvalidArguments",
            "spec.source.gymnasium.kwargs",
            id="unknown argument",
        ),
        pytest.param(
            {"id": "CartPole-v1", "kwargs": {"max_episode_steps": 7}},
            "InvalidArguments",
            "spec.source.gymnasium.kwargs",
            id="an argument that the spec owns",
        ),
        pytest.param(
            {"id": "bad/Raises-v0", "module": "tests.train.badenvs", "kwargs": {"level": 2}},
            "EnvironmentFailed",
            "level 2 does not exist",
            id="impossible argument",
        ),
    ],
)
def test_a_source_that_cannot_be_made_fails_with_a_sentence(source: Any, reason: str, names: str) -> None:
    failure = failure_of(probed("CartPole-v1", source={"gymnasium": source}))
    assert failure.reason == reason
    assert names in failure.message


def test_a_hanging_environment_is_ended_and_the_check_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # The time that it is given begins with the third check: those before it take as long as imports do.
    clock = iter((0.0, -600.0, -600.0, -600.0))
    monkeypatch.setattr("checkrein.train.probe.time", SimpleNamespace(monotonic=lambda: next(clock, 0.0)))
    failure = failure_of(probed("bad/Hang-v0", seconds=6))
    assert failure.reason == "EnvironmentHangs"
    assert "Deterministic" in failure.message
    assert "6 s" in failure.message


def test_a_limit_makes_endless_episodes_end() -> None:
    assert probed("bad/NeverEnds-v0", safety={"maxEpisodeSteps": 50}).failure is None


def test_randomness_without_a_seed_is_a_finding_not_a_failure() -> None:
    report = probed("bad/Unseeded-v0")
    assert report.failure is None
    assert report.findings.deterministic is False
    finding = next(c for c in report.findings.checks if c.name == "Deterministic")
    assert "observation after reset" in finding.message


@pytest.mark.parametrize(
    ("id_", "code"), [pytest.param("bad/Fine-v0", 0, id="good"), pytest.param("bad/Exit-v0", 2, id="bad for good")]
)
def test_the_entry_point_reports_and_exits(id_: str, code: int, tmp_path: Path) -> None:
    ended = start("probe", ProbeTask(environment=environment(id_)), tmp_path).end()
    assert ended.code == code, ended.log
    assert ("failure" in ended.report) == bool(code)


def test_a_probe_that_is_told_to_end_says_so(tmp_path: Path) -> None:
    running = start("probe", ProbeTask(environment=environment("bad/Hang-v0")), tmp_path)
    running.read_until("hanging")
    running.process.send_signal(signal.SIGTERM)
    ended = running.end()
    assert ended.code == 1
    assert ended.report["failure"]["reason"] == "Terminated"
