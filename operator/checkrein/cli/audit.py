"""`checkrein audit`: proves the decision log, and reads it back."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from checkrein.cli import episodes, offpolicy, pages, places, tables
from checkrein.cli.ledger import Ledger, Query
from checkrein.cli.places import UsageError
from checkrein.store.decisions.findings import Finding
from checkrein.store.decisions.records import End
from checkrein.store.decisions.sources import copy
from checkrein.store.decisions.verify import Audit

PROVED, FAILED = 0, 1
KINDS = ("decision", "end", "outcome", "override", "shadow", "opened", "closed", "gap")


def add_parsers(commands: Any) -> None:
    """`audit` with its commands."""
    audit = commands.add_parser("audit", help="prove the decision log, and read it back")
    actions = audit.add_subparsers(required=True, metavar="COMMAND")
    _add_verify(actions)
    _add_export(actions)
    _add_query(actions)
    _add_report(actions)
    _add_offpolicy(actions)


def _add_verify(actions: Any) -> None:
    parser = actions.add_parser(
        "verify",
        help="prove order, completeness and integrity",
        description="Proves that nothing was changed, dropped, swapped, reordered or cut off. "
        "Exit status: 0 proved, 1 not proved, 2 could not be asked so.",
    )
    places.add_arguments(parser)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--strict", action="store_true", help="warnings (records that are known to be lost) fail, too")
    parser.add_argument("--note", type=Path, metavar="FILE", help="write down where every stream stands now")
    parser.add_argument("--against", type=Path, metavar="FILE", help="what --note wrote must still be there")
    parser.set_defaults(run=verify)


def _add_export(actions: Any) -> None:
    parser = actions.add_parser(
        "export",
        help="decisions with their late rewards, as Parquet or JSON Lines; or a copy of the log itself",
        description="Writes every decision once, with what was told of it later. Only proved records are written; "
        "exit status 1 says that not all could be proved.",
    )
    places.add_arguments(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="FILE", help="where to write the decisions")
    what.add_argument("--raw", type=Path, metavar="DIR", help="copy the log's objects, to be verified elsewhere")
    parser.add_argument("--format", choices=("parquet", "jsonl"), help="default: by the ending of FILE")
    _add_filters(parser)
    parser.set_defaults(run=export)


def _add_query(actions: Any) -> None:
    parser = actions.add_parser(
        "query",
        help="print records as JSON Lines",
        description="Prints records. Decisions are joined with what was told of them later, unless --raw is given.",
    )
    places.add_arguments(parser)
    _add_filters(parser)
    parser.add_argument("--kind", choices=KINDS, default="decision", help="default: %(default)s")
    parser.add_argument("--raw", action="store_true", help="records as they stand, each copy and fork")
    parser.add_argument("--limit", type=int, help="at most so many")
    parser.set_defaults(run=query)


def _add_report(actions: Any) -> None:
    parser = actions.add_parser(
        "report",
        help="episodes as plots, in one HTML file",
        description="Draws what an agent did: returns, actions, values, and observations where the log has them. "
        "Only proved records are drawn; exit status 1 says that not all could be proved.",
    )
    places.add_arguments(parser)
    pages.add_arguments(parser)
    which = parser.add_argument_group("which")
    which.add_argument("--episode")
    which.add_argument("--policy", help="name of the PolicyVersion that decided")
    _add_times(which)
    parser.set_defaults(run=report)


def _add_offpolicy(actions: Any) -> None:
    parser = actions.add_parser(
        "offpolicy",
        help="estimate what a candidate's mean return would have been, or say why the log does not tell",
        description=offpolicy.DESCRIPTION,
    )
    places.add_arguments(parser)
    offpolicy.add_arguments(parser)
    _add_times(parser.add_argument_group("which episodes"))
    parser.set_defaults(run=estimate)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    which = parser.add_argument_group("which")
    which.add_argument("--episode")
    which.add_argument("--decision")
    which.add_argument("--policy", help="name of the PolicyVersion that decided")
    _add_times(which)
    which.add_argument("--explored", action="store_true", default=None, help="only deliberate deviations")


def _add_times(which: Any) -> None:
    which.add_argument("--since", type=_time, metavar="TIME", help="for example 2026-12-01T12:00:00Z")
    which.add_argument("--until", type=_time, metavar="TIME", help="before this")


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write it like 2026-12-01T12:00:00Z") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def verify(options: argparse.Namespace) -> int:
    """The verdict, for people or for programs."""
    expected = _read_note(options.against) if options.against else None
    audit = Audit(places.source(options), agent_id=places.agent_id(options), expected=expected).run()
    holds = audit.proved and not (options.strict and any(f.severity == "warning" for f in audit.findings))
    if options.note:
        options.note.write_bytes(msgspec.json.format(msgspec.json.encode(audit.ends), indent=1) + b"\n")
    print(_document(audit, holds) if options.output == "json" else table(audit, holds))
    return PROVED if holds else FAILED


def _read_note(path: Path) -> Mapping[str, End]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, End])
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"--against: {path} cannot be read: {error}") from error


def export(options: argparse.Namespace) -> int:
    """A copy, or the joined decisions."""
    if options.raw:
        return _copy(options)
    kind = options.format or {".parquet": "parquet", ".jsonl": "jsonl"}.get(options.out.suffix)
    if kind is None:
        raise UsageError("--format: set parquet or jsonl, or let FILE end in .parquet or .jsonl")
    audit = Audit(places.source(options), agent_id=places.agent_id(options))
    with Ledger(audit.entries()) as ledger:
        rows = ledger.decisions(_query(options))
        if kind == "parquet":
            count = tables.write_parquet(rows, options.out)
        else:
            with options.out.open("w", encoding="utf-8") as file:
                count = tables.write_jsonl(rows, file)
    print(f"{count} decisions written to {options.out}")
    return _told(audit)


def _copy(options: argparse.Namespace) -> int:
    if options.raw.exists() and any(options.raw.iterdir()):
        raise UsageError(f"--raw: {options.raw} is not empty; a copy needs a directory of its own")
    if options.name or options.namespace:
        raise UsageError("--raw copies all below --prefix: name an AgentDeployment by its prefix")
    copied = copy(places.store_source(options), options.raw)
    print(f"{copied.objects} objects copied to {options.raw}; note the index's digest: {copied.index_digest}")
    return PROVED


def query(options: argparse.Namespace) -> int:
    """Records, one for each line."""
    audit = Audit(places.source(options), agent_id=places.agent_id(options))
    with Ledger(audit.entries()) as ledger:
        asked = _query(options, kind=options.kind, limit=options.limit)
        joined = options.kind == "decision" and not options.raw
        tables.write_jsonl(ledger.decisions(asked) if joined else ledger.records(asked), sys.stdout)
    return _told(audit)


def estimate(options: argparse.Namespace) -> int:
    """The estimate or the refusal, with its numbers."""
    audit = Audit(places.source(options), agent_id=places.agent_id(options))
    found = offpolicy.asked(options, audit)
    in_words = offpolicy.report(found, options.candidate, options.alpha)
    print(offpolicy.document(found) if options.output == "json" else in_words)
    proved = _told(audit)
    return FAILED if found.refused else proved


def report(options: argparse.Namespace) -> int:
    """The page of one AgentDeployment."""
    pages.check()
    from checkrein.report.page import Subject, page

    agent = places.agent_id(options)
    if agent is None:
        raise UsageError("set --namespace and --name: a report is of one AgentDeployment")
    audit = Audit(places.source(options), agent_id=agent)
    with Ledger(audit.entries()) as ledger:
        recording, facts = episodes.told(ledger, episodes.query_of(options))
    proved = _told(audit)
    remarks = () if audit.proved else ("parts of the log could not be proved; `checkrein audit verify` says which",)
    what = f"what the decision log of AgentDeployment {agent} says"
    pages.deliver(page(Subject(options.name, what, facts, recording, remarks=remarks)), options.name, options)
    return proved


def _query(options: argparse.Namespace, **more: Any) -> Query:
    return Query(
        episode=options.episode,
        decision=options.decision,
        policy=options.policy,
        since=options.since,
        until=options.until,
        explored=options.explored,
        **more,
    )


def _told(audit: Audit) -> int:
    """Says on stderr what could not be proved."""
    for finding in audit.findings:
        if finding.severity == "error":
            print(_line(finding), file=sys.stderr)
    return PROVED if audit.proved else FAILED


def table(audit: Audit, holds: bool) -> str:
    """Streams, findings, verdict."""
    header = ("STREAM", "AGENT", "RECORDS", "SEGMENTS", "STATE", "LOST", "UNTIL", "HEAD")
    rows = [
        (s.stream, s.agent_id, str(s.records), str(s.segments), s.state, str(s.lost), s.until, s.head[:16])
        for s in audit.streams
    ]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    lines += ["", *map(_line, audit.findings)] if audit.findings else []
    total = sum(s.records for s in audit.streams)
    verdict = "proved" if holds else "NOT PROVED"
    return "\n".join([*lines, "", f"{verdict}: {total} records in {len(audit.streams)} streams"])


def _line(finding: Finding) -> str:
    where = f"{finding.stream}: " if finding.stream else ""
    return f"{finding.severity}  {finding.code}  {where}{finding.message}"


def _document(audit: Audit, holds: bool) -> str:
    streams, findings = [asdict(s) for s in audit.streams], [asdict(f) for f in audit.findings]
    return json.dumps({"proved": holds, "streams": streams, "findings": findings}, indent=1)
