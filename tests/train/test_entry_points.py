"""The three entry points, end to end, as processes on a real store."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.train.conftest import ROOT, Job, environment, job_spec, sample

from checkrein.api.environment import RLEnvironmentSpec
from checkrein.api.meta import FileReference
from checkrein.api.tasks import EvaluationResults, ParentPolicy
from checkrein.api.training import TrainingJobSpec
from checkrein.store import artifacts, keys, recordings
from checkrein.store.client import Store
from checkrein.train.seeds import HALF

pytestmark = pytest.mark.store


def test_sample_job_trains_and_its_evaluation_passes_the_gate(make_job: Any) -> None:
    job = make_job(
        RLEnvironmentSpec.model_validate(sample("environment.yaml")),
        TrainingJobSpec.model_validate(sample("training.yaml")),
    )
    trained = job.train().end()
    assert trained.code == 0, trained.log
    assert trained.report["progress"]["percent"] == 100
    assert trained.report["checkpoint"]["step"] >= 40_000

    evaluated = job.start("evaluator", job.evaluation(trained, 300)).end()
    assert evaluated.code == 0, evaluated.log
    reference = evaluated.report["results"]
    stored = job.store.get(reference["key"], digest=reference["digest"])
    results = EvaluationResults.model_validate_json(stored)
    assert results.manifest == trained.report["manifest"]["digest"]
    assert len(set(results.seeds)) == 300
    assert min(results.seeds) >= HALF
    assert results.returns == [float(length) for length in results.lengths]
    assert sum(results.returns) / 300 >= 498


def test_an_evaluation_is_recorded_beside_the_version_before(make_job: Any) -> None:
    job = make_job(environment("CartPole-v1"), job_spec(steps=256, algorithm={"hyperparameters": LONG}))
    trained = job.train().end()
    assert trained.code == 0, trained.log
    policies = Store(job.store.location.model_copy(update={"bucket": job.policies}), job.store.credentials)
    before = artifacts.publish(job.store, policies, FileReference.model_validate(trained.report["manifest"]))
    task = job.evaluation(trained, 10).model_copy(
        update={
            "parent": ParentPolicy(name="cartpole-1", artifact=before),
            "policies": policies.location.model_copy(update={"read_prefix": keys.CONTENT}),
        }
    )
    evaluated = job.start("evaluator", task).end()
    assert evaluated.code == 0, evaluated.log
    kept = recordings.publish(job.store, policies, FileReference.model_validate(evaluated.report["recording"]))
    recording = recordings.load(policies, kept)
    assert recording.frames.startswith(b"GIF89a")
    assert recording.parent
    assert (recording.parent.name, recording.parent.agreed) == ("cartpole-1", 1.0), "it is the same policy"

    gone = before.model_copy(update={"version_id": "00000000-0000-0000-0000-000000000000"})
    lost = task.model_copy(update={"parent": ParentPolicy(name="cartpole-1", artifact=gone)})
    again = job.start("evaluator", lost).end()
    assert again.report["results"] == evaluated.report["results"]
    data = job.store.get(again.report["recording"]["key"], digest=again.report["recording"]["digest"])
    assert any("cartpole-1 could not be read" in remark for remark in recordings.unpack(data).remarks)


def test_an_evaluation_counts_though_nothing_of_it_can_be_kept(make_job: Any) -> None:
    """An environment that plays its first episode of each seed only."""
    job = make_job(environment("pictures/Once-v0"), job_spec(steps=256, algorithm={"hyperparameters": LONG}))
    trained = job.train().end()
    assert trained.code == 0, trained.log
    evaluated = job.start("evaluator", job.evaluation(trained, 4)).end()
    assert (evaluated.code, "recording" in evaluated.report) == (0, False), evaluated.log
    assert evaluated.report["results"]
    assert "nothing of this evaluation is kept" in evaluated.log


LONG = {"n_steps": 64, "batch_size": 64, "n_epochs": 2}


def long_job(make_job: Any, steps: int = 10**9) -> Job:
    """Trains until somebody ends it, with a checkpoint every 512 steps."""
    spec = job_spec(
        "PPO",
        steps,
        algorithm={"hyperparameters": LONG, "normalize": {"observation": True}},
        environments=4,
        checkpoint={"everySteps": 512},
    )
    job: Job = make_job(environment("tiny/WideDiscrete-v0"), spec)
    return job


def test_a_killed_trainer_goes_on_from_its_newest_good_checkpoint(make_job: Any) -> None:
    job = long_job(make_job)
    first = job.train(attempt=1)
    first.read_until("checkpoint of step 1536")
    first.process.kill()
    assert first.end().code == -signal.SIGKILL

    newest = max(key for key in job.written() if key.endswith("/manifest.json"))
    job.store.put(newest.replace("manifest.json", "network.pt"), b"damaged")
    older = max(key for key in job.written() if key.endswith("/manifest.json") and key != newest)
    step = int(older.split("/")[-2])

    second = job.train(attempt=2)
    log = second.read_until("resuming from step")
    assert f"resuming from step {step} " in log
    assert newest in log
    assert "is damaged" in log
    second.read_until(f"checkpoint of step {step + 512}")
    second.process.send_signal(signal.SIGTERM)
    ended = second.end()
    assert ended.code == 1
    assert ended.report["failure"]["reason"] == "Terminated"
    assert not ended.report["failure"]["permanent"]
    saved = ended.report["checkpoint"]["step"]
    assert saved % 512 == 0, "where a run that nobody ends has one too"
    assert any(f"/2/train/checkpoints/{saved:012d}/manifest.json" in key for key in job.written())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "suspended"])
def test_a_resumed_job_ends_with_the_policy_of_one_that_was_never_interrupted(
    make_job: Any, how: signal.Signals
) -> None:
    whole = long_job(make_job, 4096).train().end()
    assert whole.code == 0, whole.log

    job = long_job(make_job, 4096)
    first = job.train(attempt=1)
    first.read_until("checkpoint of step 512")
    first.process.send_signal(how)
    assert first.end().code != 0
    resumed = job.train(attempt=2).end()
    assert resumed.code == 0, resumed.log
    assert "resuming from step" in resumed.log
    assert resumed.report["manifest"]["digest"] == whole.report["manifest"]["digest"]


def test_a_trainer_that_cannot_start_says_why_and_that_no_attempt_will(make_job: Any) -> None:
    job = make_job(environment("tiny/BoxDiscrete-v0"), job_spec(algorithm={"hyperparameters": {"n_step": 1}}))
    ended = job.train().end()
    assert ended.code == 2
    assert ended.report["failure"]["reason"] == "InvalidHyperparameters"
    assert "did you mean n_steps" in ended.report["failure"]["message"]
    assert "manifest" not in ended.report


def test_the_evaluator_has_nothing_of_what_trained() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, checkrein.train.evaluator; print(*sys.modules)"],
        env={"PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "onnxruntime" in loaded
    assert not {"torch", "stable_baselines3"} & set(loaded)


def test_an_artifact_that_was_changed_is_not_evaluated(make_job: Any) -> None:
    spec = job_spec("DQN", 200, algorithm={"hyperparameters": {"learning_starts": 50}})
    job = make_job(environment("tiny/BoxDiscrete-v0"), spec)
    trained = job.train().end()
    assert trained.code == 0, trained.log
    evaluated = job.start("evaluator", job.evaluation(trained, 20)).end()
    assert evaluated.code == 0, evaluated.log
    job.store.put(next(key for key in job.written() if key.endswith("policy.onnx")), b"changed")
    again = job.start("evaluator", job.evaluation(trained, 20)).end()
    assert again.code == 1
    assert again.report["failure"]["reason"] == "DigestMismatch"


def test_an_evaluation_plays_under_the_rules_of_the_environment(make_job: Any) -> None:
    rule = {"name": "short", "require": "step < 5", "otherwise": "Terminate"}
    job = make_job(
        environment("CartPole-v1", safety={"shield": [rule]}),
        job_spec(steps=256, algorithm={"hyperparameters": LONG}),
    )
    trained = job.train().end()
    assert trained.code == 0, trained.log
    evaluated = job.start("evaluator", job.evaluation(trained, 4)).end()
    assert evaluated.code == 0, evaluated.log
    reference = evaluated.report["results"]
    results = EvaluationResults.model_validate_json(job.store.get(reference["key"], digest=reference["digest"]))
    assert (results.lengths, results.shielded, sorted(results.ended)) == ([5] * 4, [1] * 4, [0, 1, 2, 3])
