"""Credentials are asked for again before they expire, by a hand clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checkrein.api.tasks import StoreCredentials
from checkrein.store.credentials import RENEWAL_MARGIN, RenewingProvider, from_file
from checkrein.store.errors import StoreUnavailable

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def write(path: Path, key: str, expiration: datetime | None) -> None:
    credentials = StoreCredentials(access_key=key, secret_key="secret", session_token="token", expiration=expiration)
    path.write_text(credentials.model_dump_json(by_alias=True))


@pytest.mark.parametrize(
    ("lifetime", "elapsed", "key"),
    [
        pytest.param(timedelta(hours=1), timedelta(seconds=9), "old", id="far from its end, the file is left alone"),
        pytest.param(timedelta(hours=1), timedelta(seconds=11), "new", id="for some seconds: it may be revoked"),
        pytest.param(timedelta(hours=1), timedelta(minutes=56), "new", id="near its end, it is read again"),
        pytest.param(timedelta(hours=1), timedelta(hours=2), "new", id="after its end, it is read again"),
        pytest.param(None, timedelta(seconds=11), "new", id="without an end, it may be rotated or mended"),
        pytest.param(None, -timedelta(days=1), "new", id="the clock was set back"),
    ],
)
def test_a_session_is_renewed_in_time(tmp_path: Path, lifetime: timedelta | None, elapsed: timedelta, key: str) -> None:
    clock, path = Clock(), tmp_path / "credentials.json"
    write(path, "old", lifetime and START + lifetime)
    provider = RenewingProvider(from_file(path), clock)
    provider.retrieve()
    write(path, "new", START + timedelta(days=1))
    clock.now += elapsed
    assert provider.retrieve().access_key == key


def test_a_file_that_is_away_for_a_while_is_not_missed(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "credentials.json"
    write(path, "old", START + timedelta(hours=1))
    provider = RenewingProvider(from_file(path), clock)
    provider.retrieve()
    path.unlink()
    clock.now += timedelta(minutes=30)
    assert provider.retrieve().access_key == "old"


def test_until_the_file_is_renewed_the_old_session_is_used(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "credentials.json"
    write(path, "old", START + RENEWAL_MARGIN / 2)
    provider = RenewingProvider(from_file(path), clock)
    assert [provider.retrieve().access_key for _ in range(2)] == ["old", "old"]
    write(path, "new", START + timedelta(hours=1))
    assert provider.retrieve().access_key == "new"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "cannot be read", id="missing"),
        pytest.param('{"accessKey": "a", "secretKey": 17}', "malformed at: secretKey", id="a field of another type"),
        pytest.param("hunter2", "malformed at: the document", id="not JSON"),
    ],
)
def test_a_bad_file_is_named_and_not_quoted(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "credentials.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StoreUnavailable, match=words) as caught:
        from_file(path)()
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "17" not in str(caught.value).replace(str(path), "")
