"""Tokens that only the deployment's own replicas can make."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkrein.agent.episodes import Episode, TokenError, Tokens, start

KEY = bytes(range(32))
TOKENS = Tokens(KEY)
EPISODE = Episode(b"0123456789abcdef", 7, "cartpole-1@0011223344556677")
TOKEN = TOKENS.seal(EPISODE, "uid")


def test_another_replica_with_the_key_goes_on() -> None:
    assert Tokens(KEY).open(TOKEN, "uid") == EPISODE


def test_the_next_step_counts_and_names_who_decided() -> None:
    assert EPISODE.next("p-2@00") == Episode(EPISODE.id, 8, "p-2@00")


@pytest.mark.parametrize(
    ("token", "uid"),
    [
        pytest.param("", "uid", id="empty"),
        pytest.param("hello", "uid", id="made up"),
        pytest.param("ünïcode", "uid", id="not ASCII"),
        pytest.param(TOKEN[:-4], "uid", id="cut short"),
        pytest.param(TOKEN + "AAAA", "uid", id="longer"),
        pytest.param(TOKEN + "\n", "uid", id="with white space"),
        pytest.param(TOKEN, "other", id="of another deployment"),
        pytest.param(TOKEN * 50, "uid", id="far too long"),
        pytest.param(Tokens(b"x" * 32).seal(EPISODE, "uid"), "uid", id="sealed with another key"),
        pytest.param(base64.urlsafe_b64encode(b"\x01" + bytes(32)).decode(), "uid", id="without content"),
    ],
)
def test_anything_else_is_refused(token: str, uid: str) -> None:
    with pytest.raises(TokenError):
        TOKENS.open(token, uid)


@given(st.integers(0, len(base64.urlsafe_b64decode(TOKEN)) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(index: int, change: int) -> None:
    data = bytearray(base64.urlsafe_b64decode(TOKEN))
    data[index] ^= change
    with pytest.raises(TokenError):
        TOKENS.open(base64.urlsafe_b64encode(data).decode(), "uid")


def test_a_decision_id_depends_on_key_episode_and_step_alone() -> None:
    def decision(key: bytes, step: int, episode: bytes = EPISODE.id, policy: str = "") -> str:
        return Tokens(key).decision(Episode(episode, step, policy))

    assert decision(KEY, 7) == decision(KEY, 7, policy="p-2@00") == TOKENS.decision(EPISODE)
    others = [decision(KEY, 8), decision(b"x" * 32, 7), decision(KEY, 7, b"another id, here")]
    assert len({decision(KEY, 7), *others}) == 4


def test_episodes_never_share_an_id() -> None:
    assert len({start().id for _ in range(1000)}) == 1000


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(ValueError, match="at least 32"):
        Tokens.from_file(tmp_path / "key")
