"""Keys that are made, become usual and go, while episodes keep the one that they began with."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest

from checkrein.agent.keyring import Key, Keyring, read


def key(made: int) -> Key:
    return Key(made, bytes([made % 251]) * 32)


@pytest.mark.parametrize(
    ("made", "now", "wanted"),
    [
        pytest.param([100], 101, 100, id="the only key is used at once"),
        pytest.param([100, 1000], 1599, 100, id="a key that some replica may not have yet is not used"),
        pytest.param([100, 1000], 1600, 1000, id="a key that every replica has is used"),
        pytest.param([0, 1000, 5000], 2000, 1000, id="the newest of those counts"),
        pytest.param([1000, 5000], 10, 1000, id="a clock set back finds a key all the same"),
    ],
)
def test_which_key_new_episodes_begin_with(made: list[int], now: float, wanted: int) -> None:
    assert Keyring([key(m) for m in made], lambda: now).current == key(wanted)


def test_every_key_at_hand_is_found_by_its_id_until_it_goes() -> None:
    ring = Keyring([key(1), key(2)], lambda: 0.0)
    assert [ring.find(key(n).id) for n in (1, 2, 3)] == [key(1), key(2), None]
    ring.replace([key(2), key(3)])
    assert [ring.find(key(n).id) for n in (1, 2, 3)] == [None, key(2), key(3)]


def test_a_folder_as_a_secret_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"a" * 32)
    (tmp_path / "1764000000").write_bytes(b"b" * 32)
    (tmp_path / "..data").mkdir()
    assert sorted((k.made, k.secret[:1]) for k in read(tmp_path)) == [(0, b"a"), (1764000000, b"b")]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param({"key": b"short"}, "key key has 5 bytes", id="a short key"),
        pytest.param({}, "holds no key", id="no key at all"),
    ],
)
def test_useless_folders_are_refused(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Keyring(read(tmp_path), lambda: 0.0)


def test_purposes_do_not_share_a_key() -> None:
    one, message = key(1), b"the same message"
    assert one.token(b"")(message) == key(1).token(b"")(message) == key(1).token(b"the ")(b"same message")
    plain = hmac.digest(one.secret, message, "sha256")
    assert len({plain, one.token(b"")(message), one.decision(message), one.draw(message)}) == 4
