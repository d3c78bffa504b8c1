"""Tokens that only the deployment's own replicas can make."""

from __future__ import annotations

import base64

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkrein.agent.episodes import Episode, TokenError, Tokens
from checkrein.agent.keyring import Key, Keyring

KEY = Key(0, bytes(range(32)))
OTHER = Key(1, b"x" * 32)


def tokens(*keys: Key) -> Tokens:
    return Tokens(Keyring(list(keys), lambda: 1e9))


TOKENS = tokens(KEY)
EPISODE = Episode(b"0123456789abcdef", 7, "cartpole-1@0011223344556677", 1e9, KEY.id)
FOREIGN = msgspec.structs.replace(EPISODE, key=OTHER.id)
TOKEN = TOKENS.seal(EPISODE, "uid")
POLICY = "cartpole-1@0011223344556677"


def test_another_replica_with_the_key_goes_on() -> None:
    assert tokens(KEY).open(TOKEN, "uid") == EPISODE


def test_an_episode_keeps_the_key_that_it_began_with() -> None:
    rotated = tokens(KEY, OTHER)
    assert rotated.start(0.0).key == OTHER.id
    assert rotated.open(TOKEN, "uid") == EPISODE
    assert rotated.seal(EPISODE, "uid") == TOKEN
    assert rotated.decision(EPISODE) == TOKENS.decision(EPISODE)


def test_a_token_that_comes_straight_back_is_worth_no_more_than_any_other() -> None:
    ring = Keyring([KEY], lambda: 1e9)
    own = Tokens(ring)
    assert [own.open(own.seal(EPISODE, "uid"), "uid"), own.open(TOKEN, "uid")] == [EPISODE, EPISODE]
    with pytest.raises(TokenError):
        own.open(own.seal(EPISODE, "uid"), "another deployment's")
    token = own.seal(EPISODE, "uid")
    ring.replace([OTHER])
    with pytest.raises(TokenError):
        own.open(token, "uid")


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
        pytest.param(TOKEN * 500, "uid", id="far too long"),
        pytest.param(tokens(OTHER).seal(FOREIGN, "uid"), "uid", id="sealed with another key"),
        pytest.param(base64.urlsafe_b64encode(b"\x02" + KEY.id + bytes(32)).decode(), "uid", id="without content"),
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
    def decision(key: Key = KEY, **fields: object) -> str:
        return tokens(key).decision(msgspec.structs.replace(EPISODE, key=key.id, **fields))

    assert decision() == decision(policy="p-2@00") == TOKENS.decision(EPISODE)
    assert len({decision(), decision(step=8), decision(OTHER), decision(id=b"another id, here")}) == 4


def test_random_numbers_are_the_same_for_each_try_of_a_step_and_evenly_spread() -> None:
    assert (TOKENS.draw(EPISODE, 9) == TOKENS.draw(EPISODE, 9)).all()
    drawn = np.array([TOKENS.draw(msgspec.structs.replace(EPISODE, step=n), 5) for n in range(2000)])
    assert drawn.shape == (2000, 5)
    assert (drawn >= 0).all()
    assert (drawn < 1).all()
    counts = np.histogram(drawn, bins=10, range=(0, 1))[0]
    assert (abs(counts - 1000) < 150).all()
    assert abs(np.corrcoef(drawn.T) - np.eye(5)).max() < 0.1


def test_what_a_network_remembers_travels_hidden_and_bound_to_its_step_and_policy() -> None:
    secret = b"what the network remembers"
    with_state = msgspec.structs.replace(EPISODE, state=TOKENS.hide(EPISODE, POLICY, secret))
    data = base64.urlsafe_b64decode(TOKENS.seal(with_state, "uid"))
    assert secret not in data
    opened = TOKENS.open(TOKENS.seal(with_state, "uid"), "uid")
    assert TOKENS.reveal(opened, POLICY) == secret
    assert TOKENS.reveal(opened, "another@00") is None
    assert TOKENS.reveal(msgspec.structs.replace(opened, step=8), POLICY) is None


def test_episodes_never_share_an_id() -> None:
    assert len({TOKENS.start(0.0).id for _ in range(1000)}) == 1000
