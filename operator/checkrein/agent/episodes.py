"""Episode tokens: where an episode stands, carried by the caller, authenticated so that any replica can go on.

Layout: base64url of `0x01 || HMAC-SHA256 (32 bytes) || MessagePack array`. The MAC covers the deployment's uid
too, so a token is worth nothing at another deployment. A token proves where an episode stands, never how good it
was: nothing in it is evidence.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from pathlib import Path

import msgspec

FORMAT = b"\x01"
MAC_BYTES = 32
KEY_BYTES = 32
TOKEN_LIMIT = 4096


class TokenError(ValueError):
    """Not a token of this deployment: made up, changed, cut short, or of another deployment."""


class Episode(msgspec.Struct, array_like=True, frozen=True):
    """Where an episode stands. Fields are only ever appended, with defaults: older tokens must stay readable."""

    id: bytes
    step: int
    policy: str  # key of the policy that acted last (policies.key)

    def next(self, policy: str) -> Episode:
        """After one more decision."""
        return Episode(self.id, self.step + 1, policy)


def start() -> Episode:
    """A new episode before its first decision. The id must never repeat over replicas and restarts: random."""
    return Episode(os.urandom(16), 0, "")


class Tokens:
    """Seals and opens tokens with a key that the replicas of a deployment share."""

    def __init__(self, key: bytes) -> None:
        if len(key) < KEY_BYTES:
            raise ValueError(f"the token key has {len(key)} bytes, it needs at least {KEY_BYTES} random ones")
        self._token_key = hmac.digest(key, b"checkrein episode token", "sha256")
        self._decision_key = hmac.digest(key, b"checkrein decision id", "sha256")

    @classmethod
    def from_file(cls, path: Path) -> Tokens:
        """With the key in this file. Raises OSError, ValueError."""
        return cls(path.read_bytes())

    def seal(self, episode: Episode, uid: str) -> str:
        """The token of an episode of the deployment with this uid."""
        content = msgspec.msgpack.encode(episode)
        return base64.urlsafe_b64encode(FORMAT + self._mac(content, uid) + content).decode()

    def open(self, token: str, uid: str) -> Episode:
        """The episode. Raises TokenError."""
        try:
            if len(token) > TOKEN_LIMIT:
                raise TokenError("longer than any token")
            data = base64.b64decode(token, altchars=b"-_", validate=True)
            mac, content = data[1 : 1 + MAC_BYTES], data[1 + MAC_BYTES :]
            if data[:1] != FORMAT or not hmac.compare_digest(mac, self._mac(content, uid)):
                raise TokenError("not sealed by this deployment")
            return msgspec.msgpack.decode(content, type=Episode)
        except (binascii.Error, ValueError) as error:
            raise TokenError(str(error)) from error

    def decision(self, episode: Episode) -> str:
        """Id of the episode's next decision: a keyed function of (episode, step), so that a retry gets it again."""
        position = episode.id + episode.step.to_bytes(8, "big")
        return hmac.digest(self._decision_key, position, "sha256")[:16].hex()

    def _mac(self, content: bytes, uid: str) -> bytes:
        return hmac.digest(self._token_key, b"\x00".join((FORMAT, uid.encode(), content)), "sha256")
