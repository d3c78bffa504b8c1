"""uvicorn's WebSocket with the same as `connections`: an end to every wait, bounds, and a lane.

Frames are told apart here, so that a message which is one whole frame can take the lane, past the machinery of
`websockets`. All others go through that.
"""

from __future__ import annotations

import math
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C where it could be built
from websockets.http11 import Request

from checkrein.agent.connections import (
    GOING_AWAY,
    IDLE_SECONDS,
    LANE_BYTES,
    REQUEST_SECONDS,
    SMALLEST_MESSAGE_LIMIT,
    Terms,
    raw,
)
from checkrein.agent.lane import Lane
from checkrein.agent.problems import Problem, invalid

WHOLE = (0x81, 0x82)  # the first byte of a text or binary message in one frame
MASKED = 0x80
HEAD_BYTES = 14


def needed(data: bytes | bytearray, at: int) -> int:
    """Bytes of the frame that begins at `at`, or, where that cannot be told yet, those which tell (RFC 6455, 5.2)."""
    available = len(data) - at
    if available < 2:
        return 2
    length, head = data[at + 1] & 0x7F, 2
    if length > 125:
        head = 4 if length == 126 else 10
        if available < head:
            return head
        length = int.from_bytes(data[at + 2 : at + head], "big")
    return head + (4 if data[at + 1] & MASKED else 0) + length


def payload(frame: bytes) -> bytes:
    """What a whole masked frame carries."""
    short = frame[1] & 0x7F
    head = 2 if short < 126 else 4 if short == 126 else 10
    return bytes(apply_mask(frame[head + 4 :], frame[head : head + 4]))


def text(content: bytes) -> bytes:
    """One text frame, of a server."""
    size = len(content)
    if size < 126:
        return b"\x81%c%b" % (size, content)
    if size < 1 << 16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), content)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), content)


class Stream(WebSocketsSansIOProtocol):
    """A WebSocket. Messages reach the application as bytes, whether they came as text or not."""

    def __init__(self, terms: Terms, *, config: Config, server_state: ServerState, **options: Any) -> None:
        super().__init__(config=config, server_state=server_state, **options)
        self._terms = terms
        self._since = self.loop.time()
        self._closing = False
        self._lane: Lane | None = None
        self._authorization = b""
        self._rest, self._needed = bytearray(), 0  # a frame that is not whole, and its size as far as that is known
        self.busy = False
        try:
            self.conn.max_message_size = terms.message_limit()
        except Problem:  # then the application refuses the handshake, too
            self.conn.max_message_size = SMALLEST_MESSAGE_LIMIT
        self._most = self.conn.max_message_size + HEAD_BYTES

    @property
    def deadline(self) -> float:
        """When its present wait must end, by the loop's clock."""
        if self.busy:
            return math.inf
        return self._since + (IDLE_SECONDS if self.handshake_complete else REQUEST_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Parse; a handshake, whose bytes come alone, is answered with a problem where it cannot be understood."""
        if self.handshake_initiated:
            self._frames(data)
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse(str(self.conn.handshake_exc))

    def _frames(self, data: bytes) -> None:
        """Whole frames one by one: one of each read down the lane, the others, and what is too large, to uvicorn."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, turn = 0, True
        while at < len(data) and not self.transport.is_closing():
            size = needed(data, at)
            if at + size > len(data) and size <= self._most:
                self._rest += data[at:]
                self._needed = size
                return
            frame = data[at : at + size]
            if not turn or not self._by_lane(frame):
                super().data_received(frame)
            at, turn = at + size, False

    def _by_lane(self, frame: bytes) -> bool:
        """Whether it is a message that could be answered on the spot, and was."""
        if self._lane is None or frame[0] not in WHOLE or not frame[1] & MASKED or len(frame) > LANE_BYTES:
            return False
        if self.busy or self.frames or self.close_sent or not self.handshake_complete or not self.writable.is_set():
            return False
        caller = None if self.transport.is_closing() else self._lane.caller(self._authorization)
        if caller is None:
            return False
        self._since = self.loop.time()
        answer = self._lane.answer(payload(frame), caller)
        if isinstance(answer, bytes):
            self.transport.write(text(answer))
        elif isinstance(answer, Problem):
            self._terms.refused(answer.slug)
            self.transport.write(text(answer.body()))
        else:
            self._tell({"type": "websocket.receive", "bytes": b"", "answer": answer})
        return True

    def handle_connect(self, event: Request) -> None:
        """The handshake is complete; one that is none is answered with a problem."""
        if self.conn.accept(event).status_code == 101:
            if self._terms.lane:
                self._lane = self._terms.lane(self.client[0] if self.client else "")
                authorizations = event.headers.get_all("authorization")
                self._authorization = authorizations[0].encode("latin-1", "replace") if authorizations else b""
            super().handle_connect(event)
        else:
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            self._refuse(str(self.conn.handshake_exc))

    def handle_ping(self) -> None:
        """Answer it; who pings and takes no answers would make them pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        """A whole message. Nothing more is read until the application has taken it."""
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if not self.close_sent:
            self._tell({"type": "websocket.receive", "bytes": bytes(data)})

    def _tell(self, message: Any) -> None:
        """Leave a message, or an answer to be awaited, to the application."""
        self._since, self.busy = self.loop.time(), True
        self.queue.put_nowait(message)
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def send(self, message: Any) -> None:
        """An answer, or what ASGI has else."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # to the end: uvicorn takes a refusal for a handshake that was forgotten
        self.busy = not self.queue.empty()

    def sweep(self, now: float) -> None:
        """End what has waited too long; while draining, all that is not busy."""
        if self.transport.is_closing():
            if self._closing:
                self.transport.abort()
            self._closing = True
        elif not self.handshake_complete:
            if now >= self.deadline:
                self.transport.close()
        elif not self.busy and (self._terms.draining() or now >= self.deadline):
            self._say_goodbye("stopping" if self._terms.draining() else "idle")

    def shutdown(self) -> None:
        """The server stops. An answer that is owed is given first: the application closes after it."""
        if not self.handshake_complete:
            self.transport.close()
        elif not self.busy:
            self._say_goodbye("stopping")

    def _say_goodbye(self, reason: str) -> None:
        if self.close_sent:
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY, "reason": reason})
        self.conn.send_close(GOING_AWAY, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def _refuse(self, detail: str) -> None:
        problem = invalid("bad-handshake", f"no WebSocket handshake: {detail[:200]}")
        self._terms.refused(problem.slug)
        self.transport.write(raw(problem))
        self.transport.close()
