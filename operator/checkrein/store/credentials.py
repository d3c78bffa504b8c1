"""Credentials that are asked for again shortly before they expire."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from minio.credentials.credentials import Credentials
from minio.credentials.providers import Provider
from pydantic import ValidationError

from checkrein.api.tasks import StoreCredentials
from checkrein.store.errors import StoreUnavailable

# A kubelet needs a minute or two to bring a renewed Secret into a pod.
RENEWAL_MARGIN = timedelta(minutes=5)
# Keys are also replaced before their time: rotated, or mended where they were wrong.
LOOK_AGAIN = timedelta(seconds=10)


def utcnow() -> datetime:
    """The clock, as the default of a `now` argument."""
    return datetime.now(UTC)


def from_file(path: Path) -> Callable[[], StoreCredentials]:
    """A source that reads the mounted file. Raises StoreUnavailable: the file may be about to be replaced."""

    def read() -> StoreCredentials:
        try:
            return StoreCredentials.model_validate_json(path.read_bytes())
        except OSError as error:
            raise StoreUnavailable(f"store credentials {path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, e["loc"])) or "the document" for e in error.errors())
            # The cause is left out: it quotes the input, which is a secret.
            raise StoreUnavailable(f"store credentials {path} are malformed at: {fields}") from None

    return read


class RenewingProvider(Provider):
    """Hands the S3 client its keys; asks `source` again every `LOOK_AGAIN`, and each time where they soon expire."""

    def __init__(self, source: Callable[[], StoreCredentials], now: Callable[[], datetime] = utcnow) -> None:
        self._source = source
        self._now = now
        self._held: StoreCredentials | None = None
        self._asked = now()

    def retrieve(self) -> Credentials:
        """The keys to sign one request with."""
        held, now = self._held, self._now()
        if held is None or (held.expiration and held.expiration - now < RENEWAL_MARGIN):
            held = self._held = self._source()
        elif not timedelta() <= now - self._asked < LOOK_AGAIN:  # a clock that was set back must not stop it
            with suppress(StoreUnavailable):  # those it has are good for some time
                held = self._held = self._source()
            self._asked = now
        # Without the expiration: whether to use what the source gave is the server's decision, not the client's.
        return Credentials(held.access_key, held.secret_key, held.session_token)
