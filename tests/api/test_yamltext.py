"""YAML that no parser misreads."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from checkrein.api.yamltext import dump

# What descriptions and messages may hold; YAML has no way to write some control characters at all.
TEXT = st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]) | st.sampled_from("\n\t"))
SCALARS = st.none() | st.booleans() | st.integers() | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=12
)
AMBIGUOUS = ["y", "N", "yes", "No", "on", "OFF", "true", "null", "~", "1", "1e3", "0x1", "", ".inf"]


@given(VALUES)
def test_what_is_written_is_what_is_read(value: Any) -> None:
    assert yaml.safe_load(dump(value)) == value


@pytest.mark.parametrize("word", AMBIGUOUS)
def test_words_that_some_parser_takes_for_something_else_are_quoted(word: str) -> None:
    assert dump({word: word}) == f'"{word}": "{word}"\n'


def test_lists_and_maps_are_written_in_block_style() -> None:
    assert dump({"a": [{"b": 1, "c": [2, "x y"]}], "d": {}, "e": []}) == (
        "a:\n  - b: 1\n    c:\n      - 2\n      - x y\nd: {}\ne: []\n"
    )
