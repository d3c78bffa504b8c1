"""The stored records of one stream from a position on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.store.decisions.writer import ROOT, LogWriter, episode

from checkrein.store.decisions import layout, tail
from checkrein.store.decisions.records import ClosedRecord, DecisionRecord
from checkrein.store.decisions.sources import DirectorySource

STREAM = layout.stream_name("cartpole-agent-0", "cartpole-agent-0-uid", 1, "0")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Nine records in three segments: opened, seven decisions, closed; and another pod's."""
    writer = LogWriter()
    writer.stream(episode("a", 7))
    writer.stream(episode("b", 2), pod="cartpole-agent-1")
    for key, data in writer.objects.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    return tmp_path


def numbers(log: Path, position: int) -> list[int]:
    return [seq for seq, _ in tail.after(DirectorySource(log), STREAM, position)]


def segment(log: Path, first: int) -> Path:
    return log / ROOT / layout.segment(STREAM, first)


@pytest.mark.parametrize("position", range(11))
def test_records_after_a_position(log: Path, position: int) -> None:
    assert numbers(log, position) == list(range(position + 1, 10))


def test_they_are_those_that_were_written(log: Path) -> None:
    found = dict(tail.after(DirectorySource(log), STREAM, 1))
    assert [r.step for r in found.values() if isinstance(r, DecisionRecord)] == list(range(7))
    assert isinstance(found[9], ClosedRecord)


@pytest.mark.parametrize("position", [3, 4, 6])
def test_what_lies_before_is_not_read(log: Path, position: int) -> None:
    segment(log, 1).write_bytes(b"rotten")
    assert numbers(log, position) == list(range(position + 1, 10))


def test_it_ends_where_a_segment_is_missing(log: Path) -> None:
    segment(log, 4).unlink()
    assert numbers(log, 0) == [1, 2, 3]


@pytest.mark.parametrize(
    ("first", "other"),
    [pytest.param(4, 7, id="another segment of the stream"), pytest.param(7, 4, id="an earlier one again")],
)
def test_what_does_not_follow_is_refused(log: Path, first: int, other: int) -> None:
    segment(log, first).write_bytes(segment(log, other).read_bytes())
    with pytest.raises((tail.SegmentError, tail.ChainError)):
        numbers(log, 0)


def test_another_streams_segment_is_refused(log: Path) -> None:
    another = layout.stream_name("cartpole-agent-1", "cartpole-agent-1-uid", 1, "0")
    segment(log, 1).write_bytes((log / ROOT / layout.segment(another, 1)).read_bytes())
    with pytest.raises(tail.SegmentError, match="is of cartpole-agent-1"):
        numbers(log, 0)


def test_rotten_bytes_are_refused(log: Path) -> None:
    segment(log, 4).write_bytes(b"rotten")
    with pytest.raises(tail.SegmentError):
        numbers(log, 0)
