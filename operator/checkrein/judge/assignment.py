"""Which unit goes to which arm: permuted blocks of planned starts, by a keyed function.

Blocks keep the arms balanced in every stretch of time, so that drift cancels (Ham, Bojinov, Lindon, Tingley, 2023,
"Design-based confidence sequences"); windows are a switchback (Bojinov, Simchi-Levi, Zhao, 2023). Anybody who has the
seed can tell the arm of a start that never reported.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Arm = Literal["stable", "candidate"]
Kind = Literal["episode", "client", "window", "shadow", "watch"]
_ARITY = {"episode": 6, "client": 4, "window": 5, "shadow": 4, "watch": 4}


@dataclass(frozen=True, slots=True)
class Unit:
    """What an episode was assigned as. As text it travels in the token and in the log.

    episode: the `index`-th start of `block` at this replica (`stream`). window: the `index`-th window of `block`,
    at all replicas. client: `stream` is the client (a hash). shadow, watch: the `block`-th start at `stream`.
    """

    kind: Kind
    rollout: str
    stream: str = ""
    block: int = 0
    index: int = 0
    weight: int = 0

    def __str__(self) -> str:
        parts: tuple[str | int, ...]
        match self.kind:
            case "episode":
                parts = (self.rollout, self.stream, self.block, self.index, self.weight)
            case "window":
                parts = (self.rollout, self.block, self.index, self.weight)
            case "client":
                parts = (self.rollout, self.stream, self.weight)
            case _:
                parts = (self.rollout, self.stream, self.block)
        return "/".join((self.kind, *map(str, parts)))

    @classmethod
    def parse(cls, text: str) -> Unit:
        """The inverse of str(). Raises ValueError."""
        kind, *parts = text.split("/")
        if _ARITY.get(kind) != len(parts) + 1:
            raise ValueError(f"{text!r} is not a unit")
        match kind:
            case "episode":
                rollout, stream, block, index, weight = parts
                return cls("episode", rollout, stream, int(block), int(index), int(weight))
            case "window":
                rollout, block, index, weight = parts
                return cls("window", rollout, "", int(block), int(index), int(weight))
            case "client":
                rollout, stream, weight = parts
                return cls("client", rollout, stream, weight=int(weight))
            case _:
                rollout, stream, block = parts
                return cls("shadow" if kind == "shadow" else "watch", rollout, stream, int(block))


KEYED = "keyed-"


def is_keyed(seed: str) -> bool:
    """Whether a seed as it is published says nothing without the deployment's key."""
    return seed.startswith(KEYED)


def opened(seed: str, key: bytes) -> str:
    """The seed that assigns, by the published one and the key that replicas and operator share."""
    return hmac.digest(key, f"checkrein assignment/{seed}".encode(), "sha256").hex()


def shape(weight: int) -> tuple[int, int]:
    """Units in a block, and how many are the candidate's: weight 5 is 1 in 20, 25 is 1 in 4. 0 < weight < 100."""
    share = Fraction(weight, 100)
    return share.denominator, share.numerator


def arms(seed: str, where: str, block: int, weight: int) -> tuple[Arm, ...]:
    """The arms of a block's units in order. `where` is the stream of an Episode design, empty for windows."""
    size, candidates = shape(weight)
    # Units by their keyed numbers: a uniform permutation, and the first so many are the candidate's.
    numbers = sorted((_number(seed, f"{where}/{block}/{weight}/{i}"), i) for i in range(size))
    chosen = {i for _, i in numbers[:candidates]}
    return tuple("candidate" if i in chosen else "stable" for i in range(size))


def of_client(seed: str, client: str, weight: int) -> Arm:
    """A client's arm: once the candidate's it stays so while the weight grows."""
    return "candidate" if _number(seed, f"client/{client}") < weight / 100 else "stable"


def is_shadowed(seed: str, stream: str, start: int, share: float) -> bool:
    """Whether a start at this replica is shadowed."""
    return _number(seed, f"shadow/{stream}/{start}") < share


def _number(seed: str, what: str) -> float:
    """Even on [0, 1)."""
    return int.from_bytes(hmac.digest(seed.encode(), what.encode(), "sha256")[:7], "big") / 2**56
