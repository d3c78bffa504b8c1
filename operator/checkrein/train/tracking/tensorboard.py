"""TensorBoard: event files NAMESPACE/NAME/events.out.tfevents.*, which one reader takes for one run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from checkrein.api.tasks import TrainingTask
from checkrein.train import session
from checkrein.train.tracking import run
from checkrein.train.tracking.follow import Point
from checkrein.train.tracking.mirror import Mirror


class TensorBoard:
    """Writes as torch.utils.tensorboard does, without torch: this process stands beside one that has it."""

    def __init__(self, task: TrainingTask) -> None:
        self._run = run.of(task)
        folder = Path(tempfile.mkdtemp(prefix="tensorboard-"))
        self._folder = folder / self._run.name
        self._mirror = Mirror(session.open_store(task.store), "tensorboard", folder)
        self._writer: EventFileWriter | None = None

    def log(self, points: Sequence[Point]) -> None:
        """See Tracker."""
        writer = self._writer or self._open(points[0])
        for point in points:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
            writer.add_event(Event(step=point.step, wall_time=point.time, summary=Summary(value=values)))
        writer.flush()

    def keep(self, *, last: bool) -> None:
        """See Tracker."""
        self._mirror.push(now=last)

    def close(self, *, trained: bool) -> None:
        """See Tracker."""

    def _open(self, first: Point) -> EventFileWriter:
        self._mirror.fetch()
        self._writer = writer = EventFileWriter(str(self._folder))
        # What an earlier attempt logged from here on is done again; a reader forgets it.
        start = SessionLog(status=SessionLog.START)
        writer.add_event(Event(step=first.step, wall_time=first.time, session_log=start))
        known = self._run.origin | self._run.settings
        told = text_pb("checkrein", "\n".join(f"    {key}: {value}" for key, value in known.items()))  # as Markdown
        writer.add_event(Event(step=first.step, wall_time=first.time, summary=told))
        return writer
