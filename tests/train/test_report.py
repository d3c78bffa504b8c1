"""A report always fits the termination message."""

from __future__ import annotations

import json

import pytest

from checkrein.api.environment import Check, Findings
from checkrein.api.tasks import Failure, ProbeReport, StoreLocation, TrainingReport
from checkrein.train.report import serialize


def checks(count: int, length: int) -> ProbeReport:
    return ProbeReport(
        findings=Findings(checks=[Check(name=f"c{i}", passed=True, message="é" * length) for i in range(count)])
    )


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(checks(1, 10), id="short"),
        pytest.param(checks(7, 1024), id="seven long checks of two-byte letters"),
        pytest.param(checks(32, 1024), id="as many as there may be"),
        pytest.param(TrainingReport(failure=Failure(reason="R", message="m" * 1024)), id="one long failure"),
    ],
)
def test_a_report_fits_and_reads_back(report: ProbeReport | TrainingReport) -> None:
    data = serialize(report)
    assert len(data) <= 4096
    read = type(report).model_validate_json(data)
    assert read.model_dump(exclude={"failure", "findings"}) == report.model_dump(exclude={"failure", "findings"})


def test_what_fits_is_not_cut() -> None:
    report = TrainingReport(failure=Failure(reason="R", message="m" * 1024))
    assert json.loads(serialize(report))["failure"]["message"] == "m" * 1024


def test_what_cannot_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="4096 bytes"):
        serialize(StoreLocation(endpoint="e" * 5000, bucket="b"))
