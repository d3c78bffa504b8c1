"""Episode tokens: where an episode stands, carried by the caller, authenticated so that any replica can go on.

Layout: base64url of `0x02 || key id (4 bytes) || HMAC-SHA256 (32 bytes) || MessagePack array`. The MAC covers the
deployment's uid too, so a token is worth nothing at another deployment. A token proves where an episode stands, never
how good it was: nothing in it is evidence. What a network remembers is encrypted (AES-256-GCM, bound to the step).
"""

from __future__ import annotations

import binascii
import hmac
import os
from collections import OrderedDict
from functools import lru_cache

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from numpy.typing import NDArray

from checkrein.agent.keyring import KEY_ID_BYTES, Key, Keyring, Mac

FORMAT = b"\x02"
MAC_BYTES = 32
NONCE_BYTES = 12
STATE_LIMIT = 4096
"""Bytes of a network's state that travel in the token. More stays at the replica."""
TOKEN_LIMIT = 32 * 1024
REMEMBERED = 1024
"""Tokens sealed here that need not be opened when they come back."""
_HEAD = len(FORMAT) + KEY_ID_BYTES + MAC_BYTES
_BLOCK = 4
# base64url (RFC 4648, section 5) by way of the C functions for base64; the other two signs of that are no part of it.
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")
_SCALE = 2.0**-53


class TokenError(ValueError):
    """Not a token of this deployment: made up, changed, cut short, of another deployment, or of a key long gone."""


class Episode(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where an episode stands. Fields are only ever appended, with defaults: older tokens must stay readable."""

    id: bytes
    step: int
    policy: str  # key of the policy that acted last (policies.key)
    started: float  # seconds since the epoch
    key: bytes  # id of the key that it began with
    arm: str = "stable"
    previous: list[float] | None = None  # the action executed last, flat, where a rule of the shield asks for it
    state: bytes = b""  # what the network remembers, encrypted
    state_at: str = ""  # the replica that keeps the state, where it is too large to travel
    unit: str = ""  # what a rollout assigned it as (judge.assignment)

    @property
    def position(self) -> bytes:
        """Episode and step, the argument of all keyed functions."""
        return self.id + self.step.to_bytes(8, "big")


class Tokens:
    """Begins episodes, seals and opens tokens, and computes what follows from where an episode stands."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._sealed: OrderedDict[str, tuple[Episode, str]] = OrderedDict()  # tokens that may come back, with the uid
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Episode).decode

    @property
    def assignment_key(self) -> bytes:
        """By which arms are told; empty while there is none."""
        return self._keyring.assignment

    def start(self, now: float, arm: str = "stable", unit: str = "", policy: str = "") -> Episode:
        """A new episode before its first decision, as it was assigned; `policy` is a key, empty for who acts now.

        The id must never repeat over replicas and restarts: random.
        """
        return Episode(os.urandom(16), 0, policy, now, self._keyring.current.id, arm, unit=unit)

    def seal(self, episode: Episode, uid: str) -> str:
        """The token of an episode of the deployment with this uid."""
        key = self._key(episode)
        content = self._encode(episode)
        data = b"".join((FORMAT, key.id, _mac(key, uid)(content), content))
        token = binascii.b2a_base64(data, newline=False).translate(_TO_URL).decode()
        self._sealed[token] = episode, uid
        if len(self._sealed) > REMEMBERED:
            self._sealed.popitem(last=False)
        return token

    def open(self, token: str, uid: str) -> Episode:
        """The episode. Raises TokenError."""
        remembered = self._sealed.pop(token, None)  # mostly it comes back to who sealed it, and once
        if remembered and remembered[1] == uid and self._keyring.find(remembered[0].key):
            return remembered[0]
        try:
            if len(token) > TOKEN_LIMIT:
                raise TokenError("longer than any token")
            data = binascii.a2b_base64(token.encode().translate(_FROM_URL), strict_mode=True)
            key = self._keyring.find(data[1 : 1 + KEY_ID_BYTES])
            mac, content = data[1 + KEY_ID_BYTES : _HEAD], data[_HEAD:]
            if data[:1] != FORMAT or key is None or not hmac.compare_digest(mac, _mac(key, uid)(content)):
                raise TokenError("not sealed by this deployment")
            return self._decode(content)
        except (binascii.Error, ValueError) as error:
            raise TokenError(str(error)) from error

    def decision(self, episode: Episode) -> str:
        """Id of the episode's next decision: a keyed function of (episode, step), so that a retry gets it again."""
        return self._key(episode).decision(episode.position)[:16].hex()

    def draw(self, episode: Episode, count: int) -> NDArray[np.float64]:
        """`count` numbers in [0, 1), the same for each try of this step."""
        mac, blocks = self._key(episode).draw, -(-count // _BLOCK)
        data = b"".join(mac(episode.position + block.to_bytes(4, "big")) for block in range(blocks))
        numbers = np.frombuffer(data, ">u8")[:count] >> np.uint64(11)
        return numbers.astype(np.float64) * _SCALE

    def hide(self, episode: Episode, policy: str, state: bytes) -> bytes:
        """What the network of this policy remembers at this point of the episode, for its token."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._key(episode).state.encrypt(nonce, state, episode.position + policy.encode())

    def reveal(self, episode: Episode, policy: str) -> bytes | None:
        """What `hide` was given for this point of the episode; None where that was another policy's."""
        data = episode.state
        try:
            return self._key(episode).state.decrypt(
                data[:NONCE_BYTES], data[NONCE_BYTES:], episode.position + policy.encode()
            )
        except InvalidTag:
            return None

    def _key(self, episode: Episode) -> Key:
        key = self._keyring.find(episode.key)
        if key is None:
            raise TokenError("its key is gone")
        return key


@lru_cache(maxsize=8)  # a few keys, a few deployments
def _mac(key: Key, uid: str) -> Mac:
    """Authenticates the tokens of the deployment with this uid."""
    return key.token(b"\x00".join((FORMAT, key.id, uid.encode(), b"")))
