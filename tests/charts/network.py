"""What NetworkPolicies let through: the API's semantics for pods, namespaces and ports, for tests of their form.

https://kubernetes.io/docs/concepts/services-networking/network-policies: a pod that no policy selects for a direction
is open in it; else what any of the selecting policies allows passes. A connection needs both ends' consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """One end of a connection. `ports` are its named ones."""

    namespace: str
    labels: Mapping[str, str]
    ports: Mapping[str, int] = field(default_factory=dict)


OUTSIDE = None  # whatever is no pod


def passes(
    policies: Iterable[Policy], source: Pod | None, target: Pod | None, port: int, protocol: str = "TCP"
) -> bool:
    """Whether a connection from source to the target's port comes about."""
    known = list(policies)
    return _consents(known, source, target, "Egress", target, port, protocol) and _consents(
        known, target, source, "Ingress", target, port, protocol
    )


def _consents(
    policies: list[Policy], pod: Pod | None, peer: Pod | None, way: str, target: Pod | None, port: int, protocol: str
) -> bool:
    if pod is None:
        return True
    mine = [p["spec"] for p in policies if way in p["spec"]["policyTypes"] and _selects(p, pod)]
    if not mine:
        return True
    side = "to" if way == "Egress" else "from"
    rules = [rule for spec in mine for rule in spec.get(way.lower()) or ()]
    return any(
        _opens(rule, target, port, protocol) and (side not in rule or any(_is(p, peer, pod) for p in rule[side]))
        for rule in rules
    )


def _selects(policy: Policy, pod: Pod) -> bool:
    return policy["metadata"]["namespace"] == pod.namespace and _matches(policy["spec"]["podSelector"], pod.labels)


def _opens(rule: Mapping[str, Any], target: Pod | None, port: int, protocol: str) -> bool:
    named = target.ports if target else {}
    return any(
        entry["protocol"] == protocol and named.get(entry["port"], entry["port"]) == port for entry in rule["ports"]
    )


def _is(peer: Mapping[str, Any], pod: Pod | None, beside: Pod) -> bool:
    if pod is None:
        return "ipBlock" in peer
    if "namespaceSelector" in peer:
        inside = _matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod.namespace})
    else:
        inside = pod.namespace == beside.namespace
    return inside and _matches(peer.get("podSelector", {}), pod.labels)


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", ()))
