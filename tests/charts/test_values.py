"""Values: each is described, each has a default, and what the schema does not know is refused."""

from __future__ import annotations

import pytest
from tests.charts import values

# What Kubernetes knows better: its own schema refuses what is wrong in there.
KUBERNETES = {
    "operator.resources",
    "operator.affinity",
    "operator.nodeSelector",
    "operator.podAnnotations",
    "operator.podLabels",
    "minio.resources",
    "monitors.labels",
    "monitoring.dashboards.labels",
    "monitoring.dashboards.annotations",
    "monitoring.alerts.labels",
}


def test_every_value_has_a_default_and_every_default_is_known() -> None:
    assert set(values.described()) == set(values.defaults())


@pytest.mark.parametrize("name", sorted(values.described()))
def test_every_value_is_described_in_a_sentence(name: str) -> None:
    assert values.described()[name].endswith("."), values.described()[name]


def test_only_kubernetes_own_maps_take_names_that_the_schema_does_not_know() -> None:
    assert values.open_maps() == {*KUBERNETES, "global"}
