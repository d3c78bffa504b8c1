"""One Lease, several candidates: at no moment may two of them act."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from checkrein.control.election import LEAD_SECONDS, LEASE_SECONDS, Election, claim, holder, release

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lease(by: str, version: str = "1", seconds: int = LEASE_SECONDS) -> dict[str, Any]:
    meta = {"name": "operator", "namespace": "system", "resourceVersion": version}
    return {"metadata": meta, "spec": {"holderIdentity": by, "leaseDurationSeconds": seconds, "leaseTransitions": 3}}


@pytest.mark.parametrize(
    ("found", "later", "takes"),
    [
        (None, 0.0, True),
        (lease(""), 0.0, True),
        (lease("me"), 0.0, True),
        (lease("other"), 0.0, False),
        (lease("other"), LEASE_SECONDS, False),
        (lease("other"), LEASE_SECONDS + 0.1, True),
        (lease("other", seconds=60), LEASE_SECONDS + 0.1, False),
    ],
)
def test_a_lease_is_taken_only_where_its_holder_is_over(found: Any, later: float, takes: bool) -> None:
    election = Election("me")
    election.saw(found, 100.0)
    assert election.may_take(found, 100.0 + later) is takes


def test_a_renewal_that_is_seen_begins_the_wait_anew() -> None:
    election = Election("me")
    election.saw(lease("other", "1"), 0.0)
    assert not election.may_take(lease("other", "2"), LEASE_SECONDS + 1.0)
    assert not election.may_take(lease("other", "2"), 2 * LEASE_SECONDS)
    assert election.may_take(lease("other", "2"), 2 * LEASE_SECONDS + 2.0)


def test_a_leader_counts_from_before_its_renewal_was_sent() -> None:
    election = Election("me")
    assert not election.leads(0.0)
    election.taken(lease("me"), sent=5.0, now=9.0)
    assert election.leads(5.0 + LEAD_SECONDS - 0.1)
    assert not election.leads(5.0 + LEAD_SECONDS)


def test_who_resigned_does_not_lead() -> None:
    election = Election("me")
    election.taken(lease("me"), sent=5.0, now=5.0)
    election.resign()
    assert not election.leads(5.1)


def test_a_claim_counts_transitions_and_keeps_when_it_was_acquired() -> None:
    first = claim(lease("other"), "system", "operator", "me", NOW)
    assert (holder(first), first["spec"]["leaseTransitions"]) == ("me", 4)
    again = claim({**first, "metadata": {**first["metadata"], "resourceVersion": "2"}}, "s", "o", "me", NOW)
    assert again["spec"]["acquireTime"] == first["spec"]["acquireTime"]
    assert again["spec"]["leaseTransitions"] == 4
    assert holder(release(lease("me"))) == ""


@pytest.mark.parametrize("seed", range(50))
def test_no_two_lead_whatever_is_slow_or_lost(seed: int) -> None:
    """Three candidates, whose reads and writes take up to 8 s and are lost at times, on an API server that is one."""
    rng = random.Random(seed)
    candidates = [Election(name) for name in "abc"]
    stored: dict[str, Any] | None = None
    version, clock = 0, 0.0
    leaders = set()
    busy: dict[
        int, tuple[float, float, Any, bool]
    ] = {}  # until, sent, what to write on which version, lost on the way back
    for _ in range(3000):
        clock += rng.uniform(0.0, 1.0)
        for number, election in enumerate(candidates):
            if number in busy:
                until, sent, wanted, lost = busy[number]
                if until > clock:
                    continue
                del busy[number]
                base = wanted["metadata"].get("resourceVersion")
                if base == (stored["metadata"]["resourceVersion"] if stored else None):
                    version += 1
                    stored = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": str(version)}}
                    if not lost:
                        election.taken(stored, sent, clock)
            elif rng.random() < 0.5 and election.may_take(stored, clock):
                wanted = claim(stored, "system", "operator", election.identity, NOW)
                busy[number] = (clock + rng.uniform(0.0, 8.0), clock, wanted, rng.random() < 0.3)
        leading = [e.identity for e in candidates if e.leads(clock)]
        assert len(leading) <= 1
        leaders.update(leading)
    assert leaders  # somebody led
