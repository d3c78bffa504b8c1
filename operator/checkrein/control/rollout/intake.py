"""Evidence of every replica, those that vanished too, by position; and what is known of their streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkrein.api.evidence import Evidence
from checkrein.api.rollout import StreamStatus
from checkrein.control import replicas
from checkrein.control.children import PodView
from checkrein.control.plan import Answers
from checkrein.control.requests import ReadEvidence, ReadStoredEvidence
from checkrein.control.rollout.ledger import PATIENCE, Found
from checkrein.control.rollout.scene import Scene
from checkrein.control.workloads import agents
from checkrein.store.decisions.parts import slow_names

STREAMS_LIMIT = 256


@dataclass(frozen=True)
class Told:
    """Evidence by stream. `closing` are waited for no longer; of those in `dark` not even the store knows the rest."""

    streams: tuple[StreamStatus, ...]
    evidence: Mapping[str, Evidence]
    closing: frozenset[str] = frozenset()
    dark_since: float = 0.0


def told(scene: Scene, streams: Sequence[StreamStatus], *, stored_from_start: bool = False) -> Told:
    """Ask all. `stored_from_start`: closed streams are asked too, for designs that keep no mark for each stream."""
    known = {s.name: s for s in streams}
    living = _living(replicas.running(scene.observed.pods), streams, scene.answers)
    now = scene.now
    for name, (pod, _) in living.items():
        before = known.get(name, StreamStatus(name=name))
        known[name] = before.model_copy(update={"pod": pod, "gone_since": None, "closed": False})
    gone = {
        name: stream.model_copy(update={"gone_since": stream.gone_since or now.replace(microsecond=0)})
        for name, stream in known.items()
        if name not in living
    }
    asked = {s.name: _stored(scene, s) for s in gone.values() if stored_from_start or not s.closed}
    said = scene.answers.ask_all(tuple(asked.values()))
    evidence = {name: told for name, (_, told) in living.items()}
    dark = 0.0
    closing = frozenset(n for n, s in gone.items() if not s.closed and _is_over(s, now))
    for name, request in asked.items():
        answer = said[request]
        if isinstance(answer, Evidence):
            evidence[name] = answer
        elif name in closing:
            dark = max(dark, _gone(gone[name]).timestamp())
    listed = {**known, **gone, **{n: gone[n].model_copy(update={"closed": True}) for n in closing}}
    return Told(_bounded(tuple(listed[n] for n in listed)), evidence, closing, dark)


def _living(
    pods: Sequence[PodView], streams: Sequence[StreamStatus], answers: Answers
) -> dict[str, tuple[str, Evidence]]:
    """Pod and answer by stream. A pod that has begun another log is asked for that from its start."""
    newest = {s.pod: s for s in streams if s.pod}
    after = {s.name: s.position for s in streams}
    first = {p: ReadEvidence(p.address, newest[p.name].position if p.name in newest else 0) for p in pods}
    said = answers.ask_all(tuple(first.values()))
    right: dict[PodView, ReadEvidence] = {}
    for pod, request in first.items():
        if isinstance(answer := said[request], Evidence):
            right[pod] = ReadEvidence(pod.address, after.get(answer.stream, 0))
    again = answers.ask_all(tuple(right.values()))
    found: dict[str, tuple[str, Evidence]] = {}
    for pod, request in right.items():
        if isinstance(answer := again[request], Evidence):
            found[answer.stream] = (pod.name, answer)
    return found


def _stored(scene: Scene, stream: StreamStatus) -> ReadStoredEvidence:
    location = agents.decisions_location(scene.agent, scene.observed.settings, scene.observed.cluster)
    slow = tuple(slow_names(scene.agent.spec.strategy))
    return ReadStoredEvidence(location, stream.name, stream.position, slow)


def _gone(stream: StreamStatus) -> datetime:
    assert stream.gone_since is not None
    return stream.gone_since


def _is_over(stream: StreamStatus, now: datetime) -> bool:
    return now - _gone(stream) >= timedelta(seconds=PATIENCE)


def _bounded(streams: tuple[StreamStatus, ...]) -> tuple[StreamStatus, ...]:
    """Of too many, those that are told of longest: a replica that is left out is scored for neither arm."""
    if len(streams) <= STREAMS_LIMIT:
        return streams
    spare = len(streams) - STREAMS_LIMIT
    dropped = [s.name for s in streams if s.closed][:spare]
    return tuple(s for s in streams if s.name not in dropped)[:STREAMS_LIMIT]


def moved(streams: Sequence[StreamStatus], told: Told, found: Found, counted: object = None) -> list[StreamStatus]:
    """Streams with the positions behind which nothing is needed. `counted` decides which units still are."""
    by_name = {s.name: s for s in streams}

    def is_needed(stream: str, block: int, started: float) -> bool:
        if isinstance(counted, float):
            return started >= counted
        return stream in by_name and not by_name[stream].closed and block >= by_name[stream].block

    result = []
    for stream in streams:
        if (evidence := told.evidence.get(stream.name)) is not None:
            waiting = [
                first
                for unit, first, started in found.needed.get(stream.name, ())
                if is_needed(unit.stream, unit.block, started)
            ]
            upto = min([evidence.upto, *(f - 1 for f in waiting)])
            stream = stream.model_copy(update={"position": max(stream.position, upto)})
        result.append(stream)
    return result


def afresh(streams: Sequence[StreamStatus]) -> list[StreamStatus]:
    """For units of another name: blocks are counted anew, records that are behind stay behind."""
    return [s.model_copy(update={"block": 0}) for s in streams if s.gone_since is None]
