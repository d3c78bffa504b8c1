"""The review as a plain HTML form on the loopback address, for the person who started it and nobody else."""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

from checkrein.api.rollout import ReviewPair
from checkrein.cli.errors import Refusal
from checkrein.cli.rollout import review
from checkrein.cli.rollout.episodes import Episode

HOST = "127.0.0.1"
BODY_LIMIT = 4096
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
STYLE = (
    "body{font:15px sans-serif;margin:2em auto;max-width:90em}td,th{font:13px monospace;padding:0 .8em;text-align:left}"
    ".pair{display:flex;gap:2em;align-items:start}.side{flex:1;overflow:auto;max-height:70vh}button{padding:.5em 2em}"
)


class Form(HTTPServer):
    """Pages below a secret path: whoever does not know it, another user of the machine or a foreign page in the
    person's browser, can neither read nor answer."""

    def __init__(self, desk: review.Desk, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.desk = desk
        self.path = f"/{secrets.token_urlsafe(24)}/"
        self.address = f"http://{HOST}:{self.server_port}{self.path}"


def serve(desk: review.Desk, port: int) -> None:
    """Until it is interrupted. Raises OSError."""
    with Form(desk, port) as server:
        print(f"answer at {server.address} as {desk.by}; Ctrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


class _Handler(BaseHTTPRequestHandler):
    server: Form
    protocol_version = "HTTP/1.0"
    timeout = 10  # seconds that a silent client may hold the only thread

    def do_GET(self) -> None:
        """The first pair that waits."""
        if self._is_known():
            self._page("")

    def do_POST(self) -> None:
        """An answer, then the next pair."""
        if not self._is_known():
            return
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT:
            self._send(413, "too long")
            return
        said = parse_qs(self.rfile.read(length).decode(errors="replace"))
        sample, answer = (said.get(key, [""])[0] for key in ("sample", "answer"))
        if answer not in review.ANSWERS.values():
            self._send(400, "answer Left, Right or Equal")
            return
        try:
            self.server.desk.answer([(sample, answer)])
        except Refusal as refused:
            self._page(f"not taken: {refused}", status=409)
            return
        self.send_response(303)
        self.send_header("Location", self.server.path)
        self.end_headers()

    def _is_known(self) -> bool:
        known = secrets.compare_digest(self.path.encode(), self.server.path.encode())
        if not known:
            self._send(404, "not found")
        return known

    def _page(self, note: str, status: int = 200) -> None:
        try:
            self._send(status, "\n".join(page(self.server.desk, note)))
        except Refusal as refused:
            self._send(502, html.escape(str(refused)))

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line would hold the secret path."""


def page(desk: review.Desk, note: str) -> Iterator[str]:
    """The next pair with its three buttons. Raises Refusal."""
    pairs = desk.open()
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>Review</title><style>{STYLE}</style>"
    yield f"<h1>{html.escape(desk.kube.namespace)}/{html.escape(desk.name)}</h1>"
    yield f"<p>You answer as <b>{html.escape(desk.by)}</b>. Pairs left: {len(pairs)}.</p>"
    if note:
        yield f"<p role=alert><b>{html.escape(note)}</b></p>"
    if not pairs:
        yield "<p>Nothing to compare now.</p>"
        return
    yield from _pair(pairs[0], desk)


def _pair(pair: ReviewPair, desk: review.Desk) -> Iterator[str]:
    yield f"<h2>Pair {html.escape(pair.sample)}: which one is better?</h2>"
    yield f"<form method=post><input type=hidden name=sample value='{html.escape(pair.sample)}'>"
    for answer in ("Left", "Equal", "Right"):
        yield f"<button name=answer value={answer}>{answer}</button>"
    yield "</form><div class=pair>"
    for side, episode in (("Left", pair.left), ("Right", pair.right)):
        yield f"<div class=side><h3>{side}</h3>"
        yield from _side(episode, desk)
        yield "</div>"
    yield "</div>"


def _side(episode: str, desk: review.Desk) -> Iterator[str]:
    if desk.told is None:
        yield f"<p>{html.escape(review.NOT_SHOWN)}</p><p>{html.escape(episode)}</p>"
        return
    told = desk.told.get(episode, Episode())
    if not told.steps:
        yield "<p>The log does not know it yet; start the form anew to read it again.</p>"
        return
    header, rows = review.columns(told)
    yield "<table><tr>" + "".join(f"<th>{name}" for name in header)
    for row in rows:
        yield "<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row)
    yield f"</table><p>{html.escape(review.summary(told))}</p>"
