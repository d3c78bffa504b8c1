"""The chain and the tree: one spelling, one order."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from checkrein.store.decisions.chain import Chain, ChainError, MerkleTree

RECORDS = [b'{"kind":"a"}', b'{"kind":"b","x":1.5}', '{"kind":"c","text":"ä"}'.encode()]


def accepted(told: list[bytes]) -> list[bytes]:
    chain = Chain.start("s")
    return [chain.accept(line) for line in told]


def lines() -> list[bytes]:
    chain = Chain.start("s")
    return [chain.extend(r)[:-1] for r in RECORDS]


def test_what_was_chained_is_accepted_in_its_order() -> None:
    assert accepted(lines()) == RECORDS


@pytest.mark.parametrize(
    ("told", "words"),
    [
        pytest.param(lambda w: w[1:], "record 2 stands where record 1 must follow", id="the first one is gone"),
        pytest.param(lambda w: [w[0], w[2]], "record 3 stands where record 2 must follow", id="one is gone"),
        pytest.param(lambda w: [w[1], w[0]], "record 2 stands", id="two are swapped"),
        pytest.param(lambda w: [w[0], w[0]], "record 1 stands where record 2", id="one stands twice"),
        pytest.param(lambda w: [w[0], w[1].replace(b"1.5", b"1.6")], "record 2 was changed", id="a number is another"),
        pytest.param(lambda w: [w[0].replace(b":", b": ", 1)], "record 1 was changed", id="white space was added"),
        pytest.param(lambda w: [w[0].replace(b"{", b'{"x":1,', 1)], "record 1 is unreadable", id="a field was added"),
        pytest.param(lambda w: [w[0][:-1]], "record 1 is unreadable", id="one is cut short"),
        pytest.param(lambda w: [b"\xff"], "record 1 is unreadable", id="no text at all"),
    ],
)
def test_anything_else_is_refused(told: Callable[[list[bytes]], list[bytes]], words: str) -> None:
    with pytest.raises(ChainError, match=words):
        accepted(told(lines()))


def test_records_do_not_move_to_another_stream() -> None:
    with pytest.raises(ChainError, match="was changed"):
        Chain.start("t").accept(lines()[0])


def naive(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive(leaves[:k]) + naive(leaves[k:])).digest()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 100])
def test_the_tree_is_that_of_rfc_6962(size: int) -> None:
    leaves = [bytes([i]) * 32 for i in range(size)]
    tree = MerkleTree()
    for leaf in leaves:
        tree.append(leaf)
    assert tree.root() == naive(leaves)
