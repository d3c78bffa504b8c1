"""`checkrein rollout`: the command line, and what each verb does."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from checkrein.api.deployment import AgentDeployment
from checkrein.cli import kube, places
from checkrein.cli.errors import Refusal
from checkrein.cli.kube import Kube
from checkrein.cli.options import add_change, duration, manner
from checkrein.cli.output import show as document
from checkrein.cli.rollout import apply, report, review, show, words
from checkrein.cli.rollout.apply import Change

DONE, NOT_DONE = 0, 1
LOOK_SECONDS = 1.0
CLEAR = "\x1b[2J\x1b[H"
Verb = Callable[[Kube, argparse.Namespace], int]


def add_parsers(commands: Any) -> None:
    """`rollout` with its verbs."""
    rollout = commands.add_parser(
        "rollout",
        help="how a new version earns its place: look, promote, pause, abort, undo",
        description="Reads and steers the rollout of an AgentDeployment. Exit status: 0 done, 1 refused or failed, "
        "2 could not be asked so.",
    )
    verbs = rollout.add_subparsers(required=True, metavar="VERB")
    for add in (_add_looks, _add_waits, _add_changes, _add_review):
        add(verbs)
    _add_changes(commands)  # the verbs that people need in a hurry, in short


def _add(verbs: Any, name: str, verb: Verb, summary: str, more: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=(more or summary))
    parser.add_argument("agent", metavar="AGENT", help="name of the AgentDeployment")
    kube.add_arguments(parser)
    parser.set_defaults(run=lambda options: verb(kube.connect(options), options))
    return parser


def _add_looks(verbs: Any) -> None:
    status = _add(verbs, "status", _status, "where the rollout is, and how its gates stand")
    status.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    status.add_argument("-w", "--watch", action="store_true", help="show it anew whenever it changes")
    status.add_argument("--timeout", type=duration, metavar="TIME", help="how long to watch, for example 10m")
    history = _add(verbs, "history", _history, "who acted when and why")
    history.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    _add(verbs, "report", _report, "what the shadow and the gates found, to read before one decides")
    plan = _add(
        verbs,
        "plan",
        _plan,
        "how much a new version's gates will take",
        "Says by stable's record how many units each gate will take. Exit status 1: something cannot be shown.",
    )
    plan.add_argument("version", metavar="VERSION", nargs="?", help="the new version; another try of it is stricter")
    plan.add_argument("--units", type=_positive, metavar="N", help="how many units there will be, for example clients")
    plan.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")


def _add_waits(verbs: Any) -> None:
    wait = _add(
        verbs,
        "wait",
        _wait,
        "until the version is promoted, or the rollout is over",
        "promoted: spec.policyVersion decides; status 1 as soon as it is rejected. settled: no rollout is under way.",
    )
    wait.add_argument("--for", dest="goal", choices=("promoted", "settled"), default="promoted")
    wait.add_argument("--timeout", type=duration, default=timedelta(hours=1), metavar="TIME", help="default: 1h")


def _add_changes(verbs: Any) -> None:
    promote = _add_change(verbs, "promote", _promote, "go on from this step; at the end, approve")
    how = promote.add_mutually_exclusive_group()
    how.add_argument("--step", dest="full", action="store_false", help="go on from this step, whatever it waits for")
    how.add_argument("--full", action="store_true", help="make the candidate stable now, without steps and gates")
    promote.set_defaults(full=None)
    abort = _add_change(verbs, "abort", _abort, "back to stable; the candidate is rejected")
    abort.add_argument("--reason", default="", help="why, for those who look later")
    for parser in (promote, abort):
        parser.add_argument("--candidate", metavar="VERSION", help="do nothing unless this is the candidate")
    _add_change(verbs, "pause", _pause, "no step, no promotion and no new candidate until resumed")
    _add_change(verbs, "resume", _resume, "go on")
    retry = _add_change(verbs, "retry", _retry, "try a rejected version once more, with stricter gates")
    undo = _add_change(verbs, "undo", _undo, "back to the version before; while another one is under way, to stable")
    undo.add_argument("--to", metavar="VERSION", help="a version that was stable before")
    choose = _add_change(verbs, "set", _set, "ask for another version (spec.policyVersion)")
    for parser in (retry, choose):
        parser.add_argument("version", metavar="VERSION", help="name of the PolicyVersion")


def _add_review(verbs: Any) -> None:
    parser = _add_change(
        verbs,
        "review",
        lambda cluster, options: review.run(cluster, options, manner(options)),
        "compare sampled episodes, blind",
        "Shows pairs of episodes from the decision log without saying whose they are, and asks which one is better.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--answer", type=review.parse_answer, action="append", metavar="SAMPLE=ANSWER", help="Left, Right, Equal"
    )
    how.add_argument(
        "--serve", type=int, nargs="?", const=0, metavar="PORT", help="a form in the browser, on 127.0.0.1"
    )
    places.add_location(parser)


def _add_change(verbs: Any, name: str, verb: Verb, summary: str, more: str = "") -> argparse.ArgumentParser:
    parser = _add(verbs, name, verb, summary, more)
    add_change(parser)
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of units, at least 1")
    return int(text)


def _status(cluster: Kube, options: argparse.Namespace) -> int:
    shown = ""
    until = None if options.timeout is None else time.monotonic() + options.timeout.total_seconds()
    try:
        while True:
            agent, obj = apply.read(cluster, options.agent)
            if (version := obj["metadata"]["resourceVersion"]) != shown:
                if options.watch and options.output == "text":
                    print(CLEAR if sys.stdout.isatty() else "", end="" if sys.stdout.isatty() or not shown else "\n")
                shown = version
                if options.output == "text":
                    print(show.status(agent, datetime.now(UTC)), flush=True)
                else:
                    print(document(obj.get("status", {}), options.output), end="")
            if not options.watch or (until is not None and time.monotonic() >= until):
                return DONE
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        return DONE


def _history(cluster: Kube, options: argparse.Namespace) -> int:
    agent, obj = apply.read(cluster, options.agent)
    if options.output != "text":
        print(document(obj.get("status", {}).get("history", []), options.output), end="")
    else:
        print("\n".join(show.history(agent)) or f"status of {options.agent} tells of no change yet")
    return DONE


def _report(cluster: Kube, options: argparse.Namespace) -> int:
    print(report.report(apply.read(cluster, options.agent)[0]))
    return DONE


def _plan(cluster: Kube, options: argparse.Namespace) -> int:
    from checkrein.cli.rollout import planning  # numpy, which no other verb needs

    agent, _ = apply.read(cluster, options.agent)
    found = planning.plan(cluster, agent, options.version, options.units)
    if options.output != "text":
        print(document(planning.document(found), options.output), end="")
    else:
        print(planning.text(found, agent))
    return DONE if found.possible else NOT_DONE


def _wait(cluster: Kube, options: argparse.Namespace) -> int:
    until = time.monotonic() + options.timeout.total_seconds()
    while True:
        agent, _ = apply.read(cluster, options.agent)
        if said := words.reached(agent, options.goal):
            print(said)
            return DONE
        if time.monotonic() >= until:
            raise Refusal(f"{options.agent} is not {options.goal} after {options.timeout}: {words.standing(agent)}")
        time.sleep(LOOK_SECONDS)


def _change(word: Callable[..., Change], *, by: bool = False, **said: str) -> Verb:
    """A verb that says this word, with these options of the command line as its arguments."""

    def verb(cluster: Kube, options: argparse.Namespace) -> int:
        arguments = {name: getattr(options, option) for name, option in said.items()}
        arguments |= {"by": cluster.whoami()} if by else {}
        apply.say(cluster, options.agent, lambda agent: word(agent, **arguments), manner(options))
        return DONE

    return verb


_promote = _change(words.promote, by=True, full="full", meant="candidate")
_abort = _change(words.abort, by=True, reason="reason", meant="candidate")
_retry = _change(words.retry, version="version")
_pause = _change(lambda agent: words.pause(agent, True))
_resume = _change(lambda agent: words.pause(agent, False))


def _undo(cluster: Kube, options: argparse.Namespace) -> int:
    def word(agent: AgentDeployment) -> Change:
        change = words.undo(agent, options.to)
        if change.fields:
            apply.version(cluster, change.fields["policyVersion"])
        return change

    apply.say(cluster, options.agent, word, manner(options))
    return DONE


def _set(cluster: Kube, options: argparse.Namespace) -> int:
    version = apply.version(cluster, options.version)
    apply.say(cluster, options.agent, lambda agent: words.choose(agent, version), manner(options))
    return DONE
