"""The operator's off-policy estimate, by its own store user from a log as replicas leave it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

import numpy as np
import pytest
from tests.cluster.minio import Minio
from tests.store.decisions.shadowed import bandit
from tests.store.decisions.writer import ROOT, LogWriter

from checkrein.api.tasks import StoreCredentials, StoreLocation
from checkrein.control.offpolicy import answer
from checkrein.control.plan import Unavailable
from checkrein.control.requests import EstimateOffPolicy
from checkrein.store.client import Store
from checkrein.store.decisions.records import Record
from checkrein.store.errors import NotFound
from checkrein.store.install import install

CANDIDATE = "cartpole-2"


class Log:
    """A deployment's log, and the operator's view of its bucket."""

    def __init__(self, minio: Minio) -> None:
        suffix = secrets.token_hex(4)
        owner = StoreCredentials(access_key=minio.access_key, secret_key=minio.secret_key)
        user = StoreCredentials(access_key=f"operator-{suffix}", secret_key=minio.secret_key)
        runs = StoreLocation(endpoint=minio.endpoint, secure=False, bucket=f"runs-{suffix}")
        install(runs, owner, user, f"policies-{suffix}", f"decisions-{suffix}")
        self.location = runs.model_copy(update={"bucket": f"decisions-{suffix}", "write_prefix": ROOT})
        self._owner = Store(self.location, lambda: owner)
        self.operator = Store(self.location, lambda: user)

    def write(self, records: Sequence[Record], size: int = 200) -> None:
        log = LogWriter()
        log.stream(records, size=size)
        for key, data in log.objects.items():
            self._owner.put(key, data, if_absent=True)

    def damage(self) -> None:
        """Its first segment was never what it should be; later versions do not count."""
        self._owner.put(f"{ROOT}p.u.2-0/segments/000000000001.jsonl.gz", b"no segment")


@pytest.fixture
def log(minio: Minio) -> Log:
    return Log(minio)


def asked(log: Log, **more: object) -> EstimateOffPolicy:
    known = {"decisions": log.location, "candidate": CANDIDATE, "since": 0.0, "low": 0.0, "high": 1.0, "alpha": 0.05}
    return EstimateOffPolicy(**known | more)  # type: ignore[arg-type]


def test_an_estimate(log: Log) -> None:
    """Stable wins 0.3 of its episodes; the candidate, which does the other thing in half of them, 0.3 + 0.5 x 0.5."""
    log.write(bandit(np.random.default_rng(1), 1500))
    log.damage()
    found = answer(log.operator, asked(log))
    assert (found.refused, found.episodes, found.horizon) == ("", 1500, 1)
    assert found.stable == pytest.approx(0.3, abs=0.05)
    assert found.candidate == pytest.approx(0.55, abs=0.1)
    assert found.lower is not None
    assert found.upper is not None
    assert 0 < found.lower < 0.25 < found.upper


def test_a_margin_that_is_a_share_of_stables_mean(log: Log) -> None:
    log.write(bandit(np.random.default_rng(1), 500))
    whole, half = (answer(log.operator, asked(log, factor=factor)) for factor in (1.0, 0.5))
    assert whole.lower is not None
    assert half.lower is not None
    assert half.lower > whole.lower


@pytest.mark.parametrize(
    ("records", "words"),
    [
        pytest.param([], "there are no episodes", id="nothing logged"),
        pytest.param(bandit(np.random.default_rng(1), 40, explore=False), "stable never explored", id="no exploration"),
        pytest.param(bandit(np.random.default_rng(1), 3, steps=8), "more than 5 steps", id="long episodes"),
    ],
)
def test_refusals(log: Log, records: list[Record], words: str) -> None:
    log.write(records)
    found = answer(log.operator, asked(log))
    assert words in found.refused
    assert (found.candidate, found.lower) == (None, None)


def test_what_was_logged_before_that_moment_is_not_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(bandit(np.random.default_rng(1), 50))

    def read(*_: object) -> bytes:
        raise NotFound("nothing must be read here")

    monkeypatch.setattr(Store, "read_unverified", read)
    assert "there are no episodes" in answer(log.operator, asked(log, since=time.time() + 3600)).refused


def test_nobody_elses_log_is_read(log: Log) -> None:
    with pytest.raises(Unavailable, match="must name the deployment's prefix"):
        answer(log.operator, asked(log, decisions=log.location.model_copy(update={"write_prefix": ""})))


def test_bounds_without_room_are_told(log: Log) -> None:
    with pytest.raises(Unavailable, match="bounds must be finite"):
        answer(log.operator, asked(log, low=1.0))
