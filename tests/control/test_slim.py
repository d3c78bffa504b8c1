"""What the cache keeps of an object."""

from __future__ import annotations

import json
from typing import Any

from tests.control.builders import MANIFEST

from checkrein.api.names import labels
from checkrein.control.cache import Cache, Key
from checkrein.control.children import job_view, pod_view
from checkrein.control.slim import LAST_APPLIED, slim


def text(obj: dict[str, Any]) -> dict[str, Any]:
    """As it comes from the API server: no word is shared with another object's."""
    found: dict[str, Any] = json.loads(json.dumps(obj))
    return found


def meta(name: str, **more: Any) -> dict[str, Any]:
    managed = [{"manager": "checkrein", "fieldsV1": {"f:spec": {}}}]
    return {"name": name, "namespace": "games", "uid": f"{name}-uid", "managedFields": managed, **more}


LIMITS = {"limits": {"memory": "96Mi"}}
POD = {
    "kind": "Pod",
    "metadata": meta("p", labels=labels("trainer", "TrainingJob", "a", "a-uid"), annotations={"cni": "x" * 500}),
    "spec": {
        "nodeName": "n",
        "containers": [{"name": "trainer", "image": "i", "resources": LIMITS}],
        "volumes": [{"name": "store"}],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"imageID": "i", "state": {"running": {}}}],
    },
}
JOB = {
    "kind": "Job",
    "metadata": meta("j", creationTimestamp="2026-01-01T12:00:00Z"),
    "spec": {"suspend": True, "template": {"spec": {"containers": [{}]}}},
    "status": {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}]},
}


def test_what_planners_read_of_children_is_kept_and_the_rest_is_not() -> None:
    pod, job = slim(text(POD)), slim(text(JOB))
    assert pod_view(pod) == pod_view(POD)
    assert job_view(job, [pod]) == job_view(JOB, [POD])
    assert pod["spec"] == {"nodeName": "n", "containers": [{"name": "trainer", "resources": LIMITS}]}
    assert set(pod["metadata"]) == {"name", "namespace", "uid", "labels"}
    assert job["spec"] == {"suspend": True}


def test_a_persons_object_loses_only_what_the_api_server_and_kubectl_keep_for_themselves() -> None:
    obj = {
        "kind": "TrainingJob",
        "metadata": meta("a", annotations={LAST_APPLIED: "{}", "team": "games"}),
        "spec": {"template": {"nodeSelector": {}}, "seeds": [1, None, 0.5, True]},
        "status": {"artifact": MANIFEST.dump()},
    }
    kept = slim(text(obj))
    del obj["metadata"]["managedFields"], obj["metadata"]["annotations"][LAST_APPLIED]
    assert kept == obj


def test_the_given_object_is_left_as_it_is() -> None:
    given = text(POD)
    slim(given)
    assert given == POD


def test_objects_that_say_the_same_share_the_words() -> None:
    cache = Cache()
    for name in ("p1", "p2"):
        cache.put(text({**POD, "metadata": {**POD["metadata"], "name": name, "uid": name}}))  # type: ignore[dict-item]
    first, second = (cache.get(Key("Pod", "games", name)) for name in ("p1", "p2"))
    assert first
    assert second
    assert first["status"]["podIP"] is second["status"]["podIP"]
    assert all(a is b for a, b in zip(first["status"], second["status"], strict=True))
