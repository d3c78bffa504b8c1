"""The keys that the replicas of a deployment share, with rotation.

A folder holds one file for each key, named by the Unix time of its making (a file named `key` counts as made at 0). A
key is used for new episodes from ten minutes after its making, so that every replica has it by then, or at once where
there is no other. An episode stays with the key that it began with: its decision ids and random numbers must not
change midway.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from checkrein.api.tasks import ASSIGNMENT_KEY_FILE, TOKEN_KEY_FILE, TOKEN_KEY_SETTLES

KEY_BYTES = 32
KEY_ID_BYTES = 4
FIRST = Path(TOKEN_KEY_FILE).name
ASSIGNMENT = Path(ASSIGNMENT_KEY_FILE).name


class Mac:
    """HMAC-SHA256 under one key. Going on from a copy takes half the time of setting the key up each time."""

    def __init__(self, key: bytes, prefix: bytes = b"") -> None:
        self._start = hmac.new(key, prefix, digestmod="sha256")

    def __call__(self, message: bytes) -> bytes:
        """The 32 bytes that only holders of the key can make."""
        made = self._start.copy()
        made.update(message)
        return made.digest()


@dataclass(frozen=True)
class Key:
    """One key, and what is derived from it: a key for each purpose, those for HMAC-SHA256 set up once."""

    made: int
    secret: bytes

    @cached_property
    def id(self) -> bytes:
        """Names the key in a token without telling it."""
        return sha256(b"checkrein token key id" + self.secret).digest()[:KEY_ID_BYTES]

    def token(self, prefix: bytes) -> Mac:
        """Authenticates tokens that have this before them."""
        return Mac(self._derive(b"checkrein episode token"), prefix)

    @cached_property
    def decision(self) -> Mac:
        """Makes decision ids."""
        return Mac(self._derive(b"checkrein decision id"))

    @cached_property
    def draw(self) -> Mac:
        """Makes random numbers."""
        return Mac(self._derive(b"checkrein random numbers"))

    @cached_property
    def state(self) -> AESGCM:
        """Encrypts what a network remembers."""
        return AESGCM(self._derive(b"checkrein episode state"))

    def _derive(self, purpose: bytes) -> bytes:
        return hmac.digest(self.secret, purpose, "sha256")


class Keyring:
    """The keys at hand. `current` seals, every key opens; `assignment` tells arms, empty while there is none."""

    def __init__(self, keys: list[Key], clock: Callable[[], float], assignment: bytes = b"") -> None:
        self._clock = clock
        self.assignment = assignment
        self.replace(keys, assignment)

    def replace(self, keys: list[Key], assignment: bytes = b"") -> None:
        """Take in the keys as they are now; an assignment key that was there stays. Raises ValueError without keys."""
        if not keys:
            raise ValueError("the token key's folder holds no key; the operator puts them into the Secret")
        self._keys = sorted(keys, key=lambda key: key.made)
        self._by_id = {key.id: key for key in keys}
        self.assignment = assignment or self.assignment

    def find(self, key_id: bytes) -> Key | None:
        """The key of this id."""
        return self._by_id.get(key_id)

    @property
    def current(self) -> Key:
        """The newest key that every replica has by now."""
        before = self._clock() - TOKEN_KEY_SETTLES
        return next((key for key in reversed(self._keys) if key.made <= before), self._keys[0])


def read(folder: Path) -> list[Key]:
    """The keys in a folder. Raises OSError, ValueError on a key that is too short."""
    return [_key(file) for file in sorted(folder.iterdir()) if file.name.isdigit() or file.name == FIRST]


def read_assignment(folder: Path) -> bytes:
    """The key by which replicas and operator tell arms; empty where it is not there yet."""
    try:
        return (folder / ASSIGNMENT).read_bytes()
    except FileNotFoundError:
        return b""


def _key(file: Path) -> Key:
    secret = file.read_bytes()
    if len(secret) < KEY_BYTES:
        raise ValueError(f"token key {file.name} has {len(secret)} bytes, it needs at least {KEY_BYTES} random ones")
    return Key(0 if file.name == FIRST else int(file.name), secret)
