"""Kubernetes Events: what a person would want to know, beside the conditions that say how things stand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from checkrein.api.meta import bounded
from checkrein.control.cache import Raw
from checkrein.control.conditions import Transition

NOTE_LIMIT = 1024
CONTROLLER = "checkrein.dev/operator"


def event(about: Raw, transition: Transition, now: datetime) -> dict[str, Any]:
    """An events.k8s.io/v1 Event about an object."""
    meta = about["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": transition.type,
        "reason": transition.reason,
        "note": bounded(transition.message or transition.reason, NOTE_LIMIT),
        "action": "Reconcile",
        "reportingController": CONTROLLER,
        "reportingInstance": "checkrein-operator",
        "regarding": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
    }
