"""An audit proves a good log, and finds whatever somebody did to it."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from tests.store.decisions.writer import AGENT, ROOT, LogWriter, Objects, at, decision, episode

from checkrein.store.decisions import layout
from checkrein.store.decisions.records import End, EndRecord, GapRecord
from checkrein.store.decisions.verify import Audit

Tampering = Callable[[dict[str, bytes]], None]
ZERO = "cartpole-agent-0.cartpole-agent-0-uid"
ONE = "cartpole-agent-1.cartpole-agent-1-uid"


def good() -> dict[str, bytes]:
    """Replica 0 started twice, replica 1 runs."""
    log = LogWriter()
    first = log.stream(episode("a", 7))
    log.stream(episode("b", 5), boot=2, previous=first)
    log.stream(episode("c", 6), pod="cartpole-agent-1", closed=False)
    return log.objects


def segment(stream: str, first: int) -> str:
    return ROOT + layout.segment(stream, first)


def codes(objects: dict[str, bytes], taken: str | None = "2026-12-01T12:10:00Z") -> set[tuple[str, str]]:
    audit = Audit(Objects(objects, taken)).run()
    return {(f.severity, f.code) for f in audit.findings}


def test_a_good_log_is_proved() -> None:
    audit = Audit(Objects(good())).run()
    assert audit.proved
    assert {(s.stream, s.state, s.records, s.agent_id) for s in audit.streams} == {
        (f"{ZERO}.1-0", "closed", 9, AGENT),
        (f"{ZERO}.2-0", "closed", 7, AGENT),
        (f"{ONE}.1-0", "open", 7, AGENT),
    }
    assert [(f.severity, f.code) for f in audit.findings] == [("note", "Open")]


def test_its_records_come_out_in_order() -> None:
    entries = list(Audit(Objects(good())).entries())
    assert [e.seq for e in entries if e.stream == f"{ZERO}.1-0"] == list(range(1, 10))


def dropped(*keys: str) -> Tampering:
    def tamper(objects: dict[str, bytes]) -> None:
        for key in keys:
            del objects[key]

    return tamper


def rewritten(key: str, change: Callable[[list[bytes]], list[bytes]]) -> Tampering:
    """The lines of a segment (the first is its header), packed again as its writer would."""

    def tamper(objects: dict[str, bytes]) -> None:
        lines = gzip.decompress(objects[key]).splitlines(keepends=True)
        objects[key] = gzip.compress(b"".join(change(lines)), 1, mtime=0)

    return tamper


def swapped_segments(objects: dict[str, bytes]) -> None:
    one, other = segment(f"{ZERO}.1-0", 4), segment(f"{ZERO}.1-0", 7)
    objects[one], objects[other] = objects[other], objects[one]


def moved(source: str, target: str) -> Tampering:
    def tamper(objects: dict[str, bytes]) -> None:
        objects[target] = objects.pop(source)

    return tamper


def replaced(source: str, target: str) -> Tampering:
    def tamper(objects: dict[str, bytes]) -> None:
        objects[target] = objects[source]

    return tamper


def without(*parts: str) -> Tampering:
    def tamper(objects: dict[str, bytes]) -> None:
        for key in [k for k in objects if any(part in k for part in parts)]:
            del objects[key]

    return tamper


def appended(key: str, data: bytes) -> Tampering:
    def tamper(objects: dict[str, bytes]) -> None:
        objects[key] += data

    return tamper


def cut(key: str, count: int) -> Tampering:
    def tamper(objects: dict[str, bytes]) -> None:
        objects[key] = objects[key][:-count]

    return tamper


MIDDLE = segment(f"{ZERO}.1-0", 4)


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        pytest.param(rewritten(MIDDLE, lambda w: [*w[:2], *w[3:]]), "Changed", id="a record is dropped"),
        pytest.param(rewritten(MIDDLE, lambda w: w[:-1]), "Changed", id="a segment's last record is dropped"),
        pytest.param(rewritten(MIDDLE, lambda w: [w[0], w[2], w[1], w[3]]), "Changed", id="two records are swapped"),
        pytest.param(rewritten(MIDDLE, lambda w: [*w, w[-1]]), "Changed", id="a record stands twice"),
        pytest.param(
            rewritten(MIDDLE, lambda w: [w[0], w[1].replace(b'"action":1', b'"action":0'), *w[2:]]),
            "Changed",
            id="an action is another",
        ),
        pytest.param(
            rewritten(MIDDLE, lambda w: [w[0].replace(AGENT.encode(), b"games/other"), *w[1:]]),
            "Changed",
            id="a header names another agent",
        ),
        pytest.param(
            rewritten(MIDDLE, lambda w: [w[0].replace(b"until", b"Until"), *w[1:]]),
            "Changed",
            id="a header is unreadable",
        ),
        pytest.param(
            rewritten(MIDDLE, lambda w: [w[0].replace(b'"count":3', b'"count":2'), *w[1:]]),
            "Changed",
            id="a header counts wrong",
        ),
        pytest.param(rewritten(MIDDLE, lambda w: w[:1]), "Changed", id="a segment is emptied"),
        pytest.param(cut(MIDDLE, 1), "Changed", id="a segment is cut short"),
        pytest.param(appended(MIDDLE, b"\0"), "Changed", id="a byte follows a segment"),
        pytest.param(appended(MIDDLE, gzip.compress(b"x")), "Changed", id="another member follows a segment"),
        pytest.param(dropped(segment(f"{ZERO}.1-0", 1)), "SegmentMissing", id="the first segment is gone"),
        pytest.param(dropped(MIDDLE), "SegmentMissing", id="a segment is gone"),
        pytest.param(dropped(segment(f"{ZERO}.1-0", 7)), "TailMissing", id="the last segment is gone"),
        pytest.param(
            dropped(segment(f"{ONE}.1-0", 7)), "TailMissing", id="the last segment of a running replica is gone"
        ),
        pytest.param(swapped_segments, "Changed", id="two segments are swapped"),
        pytest.param(replaced(segment(f"{ZERO}.2-0", 4), MIDDLE), "Changed", id="a segment of another boot"),
        pytest.param(
            moved(MIDDLE, MIDDLE.replace("cluster", "other")), "Misplaced", id="a segment lies below another prefix"
        ),
        pytest.param(without(f"{ZERO}.1-0/"), "StreamMissing", id="a stream with all its traces, named by the next"),
        pytest.param(without(f"{ONE}.1-0/segments"), "TailMissing", id="all segments of a replica are gone"),
        pytest.param(
            without(f"{ONE}.1-0/segments", f"{ONE}.1-0/anchors"), "TailMissing", id="only its registration is left"
        ),
        pytest.param(without("opened.json"), "Unregistered", id="registrations are gone"),
        pytest.param(
            without(f"{ZERO}.1-0/segments/000000000007", f"{ZERO}.1-0/anchors/000000000009", f"{ZERO}.1-0/closed"),
            "TailMissing",
            id="a tail and all that vouches for it, but the next boot's word",
        ),
        pytest.param(without(""), "Empty", id="everything is gone"),
    ],
)
def test_tampering_is_found(tamper: Tampering, code: str) -> None:
    objects = good()
    tamper(objects)
    assert ("error", code) in codes(objects)


def test_any_byte_that_is_changed_is_found() -> None:
    log = LogWriter()
    log.stream(episode("a", 2))
    objects = log.objects
    assert codes(objects) == set()
    unnoticed = []
    for key, data in objects.items():
        for place in range(len(data)):
            changed = data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
            if not any(severity == "error" for severity, _ in codes(objects | {key: changed})):
                unnoticed.append((key, place))
    assert unnoticed == []


def test_what_is_left_of_a_broken_stream_is_still_proved() -> None:
    objects = good()
    del objects[MIDDLE]
    entries = [e for e in Audit(Objects(objects)).entries() if e.stream == f"{ZERO}.1-0"]
    assert [e.seq for e in entries] == [1, 2, 3, 7, 8, 9]


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        pytest.param("2026-12-01T12:01:00Z", ("note", "UnderWay"), id="anchored ten seconds ago"),
        pytest.param("2026-12-01T12:09:00Z", ("error", "TailMissing"), id="anchored long ago"),
        pytest.param(None, ("error", "TailMissing"), id="a copy without a date"),
    ],
)
def test_a_segment_may_follow_its_anchor_for_a_while(taken: str | None, expected: tuple[str, str]) -> None:
    log = LogWriter()
    log.stream(episode("c", 6), closed=False)
    del log.objects[segment(f"{ZERO}.1-0", 7)]
    assert expected in codes(log.objects, taken)


def test_losses_that_the_log_tells_of_are_warnings() -> None:
    log = LogWriter()
    gap = GapRecord(timestamp=at(3), lost=12, since=at(1), reason="No space left on device")
    log.stream([decision("a", 0), gap])
    audit = Audit(Objects(log.objects)).run()
    assert audit.proved
    assert [(f.severity, f.code, f.seq) for f in audit.findings] == [("warning", "Gap", 3)]
    assert audit.streams[0].lost == 12


@pytest.mark.parametrize(
    ("logged", "missing"),
    [
        pytest.param([decision("a", 0), decision("a", 2)], "step 1", id="a step between"),
        pytest.param([decision("a", 2)], "step 0", id="its beginning"),
        pytest.param(
            [decision("a", 0), EndRecord(timestamp=at(1), agent_id=AGENT, episode="a", step=3, ending="terminated")],
            "step 1",
            id="its last steps",
        ),
    ],
)
def test_steps_that_no_stream_holds_are_told(logged: list[object], missing: str) -> None:
    log = LogWriter()
    log.stream(logged)  # type: ignore[arg-type] # a table's list
    [finding] = Audit(Objects(log.objects)).run().findings
    assert (finding.severity, finding.code) == ("warning", "StepsMissing")
    assert missing in finding.message


def test_an_episode_may_pass_through_replicas_in_any_order() -> None:
    log = LogWriter()
    log.stream([decision("a", step) for step in (1, 3, 4)])
    log.stream([decision("a", step) for step in (0, 2, 2)], pod="cartpole-agent-1")
    assert codes(log.objects) == set()


def test_what_was_noted_before_must_still_be_there() -> None:
    objects = good()
    noted = Audit(Objects(objects)).run().ends
    assert Audit(Objects(objects), expected=noted).run().proved
    without(f"{ONE}.1-0/")(objects)  # with all its traces: nothing in the log tells of it
    assert Audit(Objects(objects)).run().proved
    assert not Audit(Objects(objects), expected=noted).run().proved


def test_a_log_written_anew_contradicts_what_was_noted() -> None:
    noted = {f"{ZERO}.1-0": Audit(Objects(good())).run().ends[f"{ZERO}.1-0"]}
    forged = LogWriter()
    end = forged.stream([decision("a", step, action=0) for step in range(7)])
    assert Audit(Objects(forged.objects)).run().proved
    findings = Audit(Objects(forged.objects), expected=noted).run().findings
    assert ("Contradicted", end.seq) in {(f.code, f.seq) for f in findings}


def test_one_agents_streams_can_be_picked() -> None:
    objects = good()
    other = LogWriter("games/other", ROOT.replace("uid", "other"))
    other.stream(episode("x", 1), pod="other-agent-0")
    audit = Audit(Objects(objects | other.objects), agent_id="games/other").run()
    assert [s.agent_id for s in audit.streams] == ["games/other"]
    assert not Audit(Objects(objects), agent_id="games/nobody").run().proved


def test_the_next_boot_may_be_seen_before_the_last_ones_end() -> None:
    log = LogWriter()
    first = log.stream(episode("a", 7), closed=False)
    del log.objects[segment(first.stream, 7)], log.objects[ROOT + layout.anchor(first.stream, 8)]
    log.stream(episode("b", 1), boot=2, previous=End(first.stream, 9, "0" * 64), began=at(55))
    assert ("note", "UnderWay") in codes(log.objects, at(58))
    assert ("error", "TailMissing") in codes(log.objects)
