"""`checkrein rollout review`: pairs of sampled episodes, blind, and what a person says of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from checkrein.api.deployment import AgentDeployment
from checkrein.api.rollout import ReviewPair
from checkrein.cli import places
from checkrein.cli.kube import Kube
from checkrein.cli.rollout import apply, episodes, words
from checkrein.cli.rollout.episodes import Episode
from checkrein.cli.text import number, plural, table

ANSWERS = {"l": "Left", "r": "Right", "e": "Equal"}
NOT_SHOWN = (
    "The episodes are not shown: say where the decision log lies (--directory, or --endpoint), or look at them by "
    "their ids elsewhere."
)


@dataclass(frozen=True)
class Desk:
    """One person's review of one deployment. `told`: what the log says of each episode; None: it was not looked at."""

    kube: Kube
    name: str
    by: str
    manner: apply.Manner
    told: Mapping[str, Episode] | None

    def open(self) -> list[ReviewPair]:
        """The pairs that wait for an answer, as the deployment stands now. Raises Refusal."""
        return waiting(apply.read(self.kube, self.name)[0])

    def answer(self, answers: Sequence[tuple[str, str]]) -> None:
        """Raises Refusal."""
        apply.say(self.kube, self.name, lambda agent: words.review(agent, answers, self.by), self.manner)


def waiting(agent: AgentDeployment) -> list[ReviewPair]:
    """Pairs that nobody has answered yet."""
    said = {review.sample for review in agent.spec.rollout.reviews}
    return [pair for pair in agent.status.review if not pair.answered and pair.sample not in said]


def parse_answer(text: str) -> tuple[str, str]:
    """`SAMPLE=Left`. Raises ArgumentTypeError."""
    sample, _, word = text.rpartition("=")
    answer = ANSWERS.get(word[:1].lower()) if word else None
    if not sample or answer is None or word.lower() not in (answer.lower(), answer[0].lower()):
        raise argparse.ArgumentTypeError(f"{text!r}: write SAMPLE=Left, SAMPLE=Right or SAMPLE=Equal")
    return sample, answer


def desk(kube: Kube, options: argparse.Namespace, manner: apply.Manner) -> Desk:
    """With the episodes read, where the options say from where. Raises Refusal, UsageError, StoreError."""
    agent, _ = apply.read(kube, options.agent)
    told = None
    if options.directory is not None or options.endpoint is not None:
        ids = {episode for pair in waiting(agent) for episode in (pair.left, pair.right)}
        told, unproved = episodes.read(places.source(options), f"{kube.namespace}/{options.agent}", ids)
        for line in unproved:
            print(f"not proved: {line}", file=sys.stderr)
    return Desk(kube, options.agent, kube.whoami(), manner, told)


def ask(desk: Desk, read_line: Callable[[], str]) -> None:
    """Each pair, then a question. An empty line passes on; q or the end of input ends. Raises Refusal."""
    pairs = desk.open()
    if not pairs:
        print("nothing to compare now")
    for number_, pair in enumerate(pairs, 1):
        print(f"\npair {pair.sample} ({number_} of {len(pairs)})")
        print("\n".join(side_by_side(pair, desk.told)))
        answer = _answer(read_line)
        if answer == "q":
            return
        if answer:
            desk.answer([(pair.sample, answer)])


def _answer(read_line: Callable[[], str]) -> str:
    """Left, Right, Equal; q; or nothing, to pass on."""
    while True:
        print("Which one is better? [l]eft, [r]ight, [e]qual, [s]kip, [q]uit: ", end="", flush=True)
        said = read_line().lower()
        if not said:  # the end of input
            return "q"
        key = said.strip()[:1]
        if key in ("", "s", "q"):
            return "q" if key == "q" else ""
        if key in ANSWERS:
            return ANSWERS[key]


def side_by_side(pair: ReviewPair, told: Mapping[str, Episode] | None) -> Iterator[str]:
    """Both episodes as plain text, left and right."""
    if told is None:
        yield NOT_SHOWN
        yield f"left   {pair.left}"
        yield f"right  {pair.right}"
        return
    for side, episode in (("LEFT", pair.left), ("RIGHT", pair.right)):
        yield from ("", side, *plain(told.get(episode, Episode())))


def plain(episode: Episode) -> Iterator[str]:
    """One episode as a table."""
    if not episode.steps:
        yield "the log does not know it (yet)"
        return
    header, rows = columns(episode)
    yield from table(header, rows)
    yield summary(episode)


def columns(episode: Episode) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows: what was seen, done and earned in each step."""
    rows: list[tuple[str, ...]] = [
        (str(step.number), step.observation or "(only its digest was kept)", step.action, number(step.reward))
        for step in episode.steps
    ]
    return ("STEP", "OBSERVATION", "ACTION", "REWARD"), rows


def summary(episode: Episode) -> str:
    """How long, how it ended, what it came to."""
    late = f", {number(episode.late)} of it told later" if episode.late is not None else ""
    ending = episode.ending or "its end is not in the log"
    return f"{plural(len(episode.steps), 'step')}, {ending}; return {number(episode.total)}{late}"


def run(kube: Kube, options: argparse.Namespace, manner: apply.Manner) -> int:
    """The verb. Raises Refusal, UsageError."""
    if options.answer:
        answers: list[tuple[str, str]] = options.answer
        by = kube.whoami()
        apply.say(kube, options.agent, lambda agent: words.review(agent, answers, by), manner)
        return 0
    opened = desk(kube, options, manner)
    if options.serve is not None:
        from checkrein.cli.rollout import form

        form.serve(opened, options.serve)
    else:
        ask(opened, sys.stdin.readline)
    return 0
