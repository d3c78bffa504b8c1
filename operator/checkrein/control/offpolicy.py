"""The answer to `EstimateOffPolicy`: from the stored log to an estimate, or to the reason why there is none."""

from __future__ import annotations

from checkrein.api.evidence import OffPolicyEstimate
from checkrein.control.plan import Unavailable
from checkrein.control.requests import EstimateOffPolicy
from checkrein.judge.offpolicy import HORIZON, Estimate, estimate
from checkrein.store.client import Store
from checkrein.store.decisions.offpolicy import Gathering
from checkrein.store.decisions.recent import records_since

RECORDS = 150_000
"""Records that are read at most, the oldest first: a later look sees the same ones and says the same."""


def answer(store: Store, request: EstimateOffPolicy) -> OffPolicyEstimate:
    """Reads no further than it has to: one long episode is a refusal. Raises StoreError, Unavailable."""
    prefix = request.decisions.read_prefix or request.decisions.write_prefix
    if not prefix:
        why = "decisions must name the deployment's prefix: empty would mean everybody's log"
        raise Unavailable("Malformed", why, temporary=False)
    gathering = Gathering(request.candidate, since=request.since)
    for count, record in enumerate(records_since(store, prefix, request.since)):
        gathering.add(record)
        if gathering.longest > HORIZON or count >= RECORDS:
            break
    if gathering.longest > HORIZON:
        return OffPolicyEstimate(
            refused=f"episodes have more than {HORIZON} steps: weights multiply with every step, and too little of any "
            "sample is left",
            horizon=gathering.longest,
        )
    try:
        found = estimate(gathering.episodes(), request.low, request.high, request.alpha, factor=request.factor)
    except ValueError as error:  # bounds without room between them
        raise Unavailable("Malformed", str(error), temporary=False) from error
    return told(found)


def told(found: Estimate) -> OffPolicyEstimate:
    """As the planner reads it."""
    lower, upper = found.difference or (None, None)
    return OffPolicyEstimate(
        refused=found.refused,
        episodes=found.episodes,
        effective=found.effective,
        horizon=found.horizon,
        candidate=found.candidate,
        stable=found.stable,
        lower=lower,
        upper=upper,
    )
