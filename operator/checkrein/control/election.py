"""Who leads, by one Lease: pure, so that every order of events can be tested.

A leader counts its time from before it sent the renewal that succeeded; another waits from when it saw that renewal.
The first is over before the second is, whatever the two clocks say: nobody compares a clock with another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Raw = dict[str, Any]
LEASE_SECONDS = 15
LEAD_SECONDS = 10.0
"""For so long after its last renewal a leader acts: the rest of the lease is for what is on its way."""
RENEW_SECONDS = 2.0
WAIT_SECONDS = 1.0
"""Between two looks of one who waits."""


@dataclass
class Election:
    """One candidate's view. Times are seconds of this process's monotonic clock."""

    identity: str
    _seen: tuple[str, str] | None = None  # holder and resourceVersion of the Lease as last seen
    _since: float = 0.0  # when that was first seen
    _renewed: float | None = field(default=None)

    def leads(self, now: float) -> bool:
        """Whether this candidate may act."""
        return self.left(now) > 0

    def left(self, now: float) -> float:
        """Seconds for which it may act without another renewal; 0 or less where it may not."""
        return self._renewed + LEAD_SECONDS - now if self._renewed is not None else 0.0

    @property
    def deposed(self) -> bool:
        """Whether the Lease, as last seen, is somebody else's."""
        return self._seen is not None and self._seen[0] not in ("", self.identity)

    def saw(self, lease: Mapping[str, Any] | None, now: float) -> None:
        """The Lease as it is; None where there is none."""
        seen = (holder(lease), lease["metadata"]["resourceVersion"]) if lease else ("", "")
        if seen != self._seen:
            self._seen, self._since = seen, now

    def may_take(self, lease: Mapping[str, Any] | None, now: float) -> bool:
        """Whether to write one's own name: it stands there, nobody's does, or another's for too long unchanged."""
        self.saw(lease, now)
        by = holder(lease)
        seconds = float((lease or {}).get("spec", {}).get("leaseDurationSeconds") or LEASE_SECONDS)
        return by in ("", self.identity) or now - self._since > seconds

    def taken(self, lease: Mapping[str, Any], sent: float, now: float) -> None:
        """The Lease with one's own name was accepted; `sent` is when the request was begun."""
        self.saw(lease, now)
        self._renewed = sent

    def resign(self) -> None:
        """Never lead again."""
        self._renewed = None


def holder(lease: Mapping[str, Any] | None) -> str:
    """Who holds it; empty for nobody."""
    return str((lease or {}).get("spec", {}).get("holderIdentity") or "")


def claim(lease: Mapping[str, Any] | None, namespace: str, name: str, identity: str, wall: datetime) -> Raw:
    """The Lease with this name in it; what to create, or to put in the place of the one that was read."""
    stamp = wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = dict((lease or {}).get("spec", {}))
    if holder(lease) != identity:
        spec |= {"acquireTime": stamp, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + bool(lease)}
    spec |= {"holderIdentity": identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": stamp}
    return _lease(lease, namespace, name, spec)


def release(lease: Mapping[str, Any]) -> Raw:
    """The Lease in nobody's name: the next one need not wait."""
    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
    return _lease(lease, lease["metadata"]["namespace"], lease["metadata"]["name"], spec)


def _lease(lease: Mapping[str, Any] | None, namespace: str, name: str, spec: Raw) -> Raw:
    meta = {"name": name, "namespace": namespace}
    if lease:
        meta["resourceVersion"] = lease["metadata"]["resourceVersion"]
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
