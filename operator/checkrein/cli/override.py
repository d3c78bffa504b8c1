"""`checkrein override`: take the reins of an AgentDeployment, and hand them back."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from checkrein.api.deployment import AgentDeployment
from checkrein.cli import kube
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Conflict, Kube
from checkrein.cli.options import add_change, duration, manner
from checkrein.cli.output import show
from checkrein.cli.places import UsageError
from checkrein.cli.rollout import apply
from checkrein.cli.rollout.apply import Change, Manner
from checkrein.cli.text import moment

Raw = dict[str, Any]
MODES = ("Fallback", "Pin", "Action", "Stop")
FIELDS = ("mode", "policyVersion", "action", "reason", "by", "until")
TRIES = 5


def add_parsers(commands: Any) -> None:
    """`override` with its verbs."""
    override = commands.add_parser(
        "override",
        help="take the reins: set or clear spec.override",
        description="Who acts is decided by a person until the override ends. It takes a right of its own "
        "(ClusterRole checkrein-override), and holds from the next decision on.",
    )
    verbs = override.add_subparsers(required=True, metavar="VERB")
    put = verbs.add_parser("set", help="somebody else acts from now on")
    put.add_argument("agent", metavar="AGENT", help="name of the AgentDeployment")
    put.add_argument("--mode", choices=MODES, required=True, help="who acts; Stop: nobody")
    put.add_argument("--reason", required=True, help="why, for those who look later")
    end = put.add_mutually_exclusive_group()
    end.add_argument("--for", dest="lasts", type=duration, metavar="TIME", help="how long, for example 30m")
    end.add_argument("--until", type=_moment, metavar="TIME", help="when it ends, for example 2026-12-01T12:00:00Z")
    put.add_argument("--policy-version", metavar="VERSION", help="who acts under --mode Pin")
    put.add_argument("--action", type=_action, metavar="JSON", help="what is done under --mode Action, for example [0]")
    put.set_defaults(run=lambda options: _set(kube.connect(options), options))
    clear = verbs.add_parser("clear", help="the rollout's policy acts again")
    clear.add_argument("agent", metavar="AGENT", help="name of the AgentDeployment")
    clear.set_defaults(run=lambda options: _clear(kube.connect(options), options))
    for parser in (put, clear):
        kube.add_arguments(parser)
        add_change(parser)


def _moment(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-12-01T12:00:00Z") from error
    if value.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} names no time zone; add Z for UTC")
    return value


def _action(text: str) -> list[float]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    elements = value if isinstance(value, list) else [value]
    if not elements or not all(isinstance(e, int | float) and not isinstance(e, bool) for e in elements):
        raise argparse.ArgumentTypeError(f"{text!r} is no number nor a list of numbers, its elements in C order")
    return elements


def wanted(options: argparse.Namespace, by: str, now: datetime) -> Raw:
    """spec.override as the options say it. Raises UsageError."""
    if (options.mode == "Pin") != (options.policy_version is not None):
        raise UsageError("--policy-version goes with --mode Pin, and --mode Pin needs it")
    if (options.mode == "Action") != (options.action is not None):
        raise UsageError("--action goes with --mode Action, and --mode Action needs it")
    until = options.until or (now + options.lasts if options.lasts else None)
    if until is None and options.mode != "Stop":
        raise UsageError("say how long, with --for or --until; only --mode Stop may last until it is cleared")
    if until is not None and until <= now:
        raise UsageError(f"--for, --until: {moment(until)} is over already")
    said = {"mode": options.mode, "reason": options.reason, "by": by}
    said |= {"until": moment(until.astimezone(UTC))} if until else {}
    said |= {"policyVersion": options.policy_version} if options.policy_version else {}
    return said | ({"action": options.action} if options.action else {})


def _set(cluster: Kube, options: argparse.Namespace) -> int:
    now = datetime.now(UTC) + timedelta(seconds=1)  # whole seconds are written, and must not be cut short
    said = wanted(options, cluster.whoami(), now.replace(microsecond=0))
    if options.policy_version:
        apply.version(cluster, options.policy_version)
    end = f" until {said['until']}" if "until" in said else " until it is cleared"
    text = f"{options.agent} is overridden: {options.mode}{end}"
    # Each field that is not said is taken out: a merge would keep what an earlier override said.
    fields = {name: said.get(name) for name in FIELDS}
    _change(cluster, options.agent, Change(text, {"override": fields}), manner(options))
    return 0


def _clear(cluster: Kube, options: argparse.Namespace) -> int:
    agent, _ = apply.read(cluster, options.agent)
    if agent.spec.override is None:
        print(f"{options.agent} is not overridden")
        return 0
    text = f"the override of {options.agent} is taken back; {_next(agent)}"
    _change(cluster, options.agent, Change(text, {"override": None}), manner(options))
    return 0


def _next(agent: AgentDeployment) -> str:
    return f"{agent.status.stable.name} decides again" if agent.status.stable else "no version is stable yet"


def _change(cluster: Kube, name: str, change: Change, how: Manner) -> None:
    for _ in range(TRIES):
        _, obj = apply.read(cluster, name)
        notes = apply.notes(obj, change, how)
        try:
            after = cluster.merge(apply.KIND, obj, {"spec": dict(change.fields)}, dry_run=how.dry_run)
        except Conflict:
            continue
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        print(change.said + (" (server dry run: nothing was changed)" if how.dry_run else ""))
        if how.dry_run:
            print(show({"spec": {"override": after["spec"].get("override")}}, "yaml"), end="")
        return
    raise Refusal(f"AgentDeployment {name} changes all the time; nothing was done, try again")
