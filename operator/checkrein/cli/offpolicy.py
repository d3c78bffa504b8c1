"""`checkrein audit offpolicy`: what a candidate's mean return would have been, by the log; or why it does not say."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

from checkrein.cli.places import UsageError
from checkrein.judge.offpolicy import HORIZON, LEAST_EFFECTIVE, Estimate, estimate
from checkrein.store.decisions.offpolicy import Gathering
from checkrein.store.decisions.verify import Audit

DESCRIPTION = f"""\
Estimates from stable's logged exploration what a shadowed candidate's mean return would have been. Refuses where the
log does not carry it: without exploration, with episodes of more than {HORIZON} steps or with gaps, or where less than
{LEAST_EFFECTIVE:g} effective episodes are left. Intervals hold whenever one looks. Both versions are judged without
exploration. Exit status: 0 estimated, 1 refused or not all of the log proved, 2 could not be asked so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked, beside where the log lies."""
    parser.add_argument("--candidate", required=True, help="name of the PolicyVersion that was shadowed")
    parser.add_argument("--stable", help="name of the PolicyVersion that acted (default: the latest one)")
    parser.add_argument("--min", type=float, required=True, help="the least return of an episode (reward.bounds.min)")
    parser.add_argument("--max", type=float, required=True, help="the greatest (reward.bounds.max)")
    parser.add_argument(
        "--alpha", type=float, default=0.05, help="how often an interval may err (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def asked(options: argparse.Namespace, audit: Audit) -> Estimate:
    """The estimate by the proved records. Raises UsageError, StoreError."""
    gathering = Gathering(
        options.candidate,
        stable=options.stable,
        since=_seconds(options.since, 0.0),
        until=_seconds(options.until, math.inf),
    )
    for entry in audit.entries():
        gathering.add(entry.record)
    try:
        return estimate(gathering.episodes(), options.min, options.max, options.alpha)
    except ValueError as error:
        raise UsageError(f"--min, --max, --alpha: {error}") from error


def _seconds(moment: str | None, otherwise: float) -> float:
    return otherwise if moment is None else datetime.fromisoformat(moment).timestamp()


def report(found: Estimate, candidate: str, alpha: float) -> str:
    """For people."""
    return "\n".join(_lines(found, candidate, alpha))


def document(found: Estimate) -> str:
    """For programs."""
    return json.dumps(asdict(found), indent=1)


def _lines(found: Estimate, candidate: str, alpha: float) -> Iterator[str]:
    whole = found.episodes - found.unknown
    yield f"episodes      {found.episodes} shadowed by {candidate}, {whole} of them whole in the log"
    yield f"horizon       {found.horizon} steps (at most {HORIZON})"
    if found.agreement is not None:
        yield f"effective     {found.effective:.1f} episodes (at least {LEAST_EFFECTIVE:g})"
        yield f"agreement     {100 * found.agreement:.1f} % of the executed actions, by the candidate's probabilities"
    if found.refused:
        yield ""
        yield f"REFUSED: {found.refused}"
        return
    confidence = f"{100 * (1 - alpha):g} %, whenever one looks"
    yield f"stable        {found.stable:.4g} (doubly robust)"
    yield f"candidate     {found.candidate:.4g} (doubly robust), {_interval(found.of_candidate)} ({confidence})"
    yield f"              {found.inverse:.4g} by inverse propensity, {found.normalised:.4g} self-normalised"
    yield f"difference    {_interval(found.difference)} candidate minus stable ({confidence})"
    yield ""
    yield f"{_sentence(found, candidate)}"


def _interval(interval: tuple[float, float] | None) -> str:
    assert interval is not None, "what is not refused has intervals"
    return f"[{interval[0]:.4g}, {interval[1]:.4g}]"


def _sentence(found: Estimate, candidate: str) -> str:
    assert found.difference is not None, "what is not refused has intervals"
    low, high = found.difference
    if low > 0:
        return f"{candidate} would have done better than stable, by {low:.4g} at least."
    if high < 0:
        return f"{candidate} would have done worse than stable, by {-high:.4g} at least."
    return "The log does not say which of them is better."
