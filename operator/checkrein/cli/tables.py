"""Joined decisions as files: JSON Lines and Parquet."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from checkrein.cli.places import UsageError

ROWS = 50_000  # of a Parquet row group
_TEXT = (
    *("timestamp", "agent_id", "decision", "episode", "arm", "regime", "policy", "policy_digest"),
    *("observation_digest", "action_hash", "shield", "caller", "unit"),
    *("shadow_policy", "shadow_outcome"),
)
_JSON = ("observation", "proposed", "action", "groups", "shadow_action")  # their form varies: JSON in a text column
_NUMBERS = (
    *("propensity", "q_value", "reward", "cost", "objective", "late_reward", "late_cost", "late_objective"),
    *("latency_us", "shadow_q_value", "shadow_probability", "shadow_distance"),
)
_COUNTS = ("step", "copies", "outcomes")
_FLAGS = ("exploration_flag", "limited", "forked", "final", "overridden", "shadow_agreed")


def write_jsonl(rows: Iterable[dict[str, Any]], file: IO[str]) -> int:
    """One object for each line. How many."""
    count = 0
    for row in rows:
        file.write(json.dumps(row, separators=(",", ":")) + "\n")
        count += 1
    return count


def write_parquet(rows: Iterable[dict[str, Any]], path: Path) -> int:
    """A table with the columns of the decision record and of what was joined to it. How many rows."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow: pip install 'checkrein[cli]', or take --format jsonl") from error
    types = {
        **dict.fromkeys((*_TEXT, *_JSON), pa.string()),
        **dict.fromkeys(_NUMBERS, pa.float64()),
        **dict.fromkeys(_COUNTS, pa.int64()),
        **dict.fromkeys(_FLAGS, pa.bool_()),
    }
    schema = pa.schema(list(types.items()))
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_table(pa.Table.from_pylist([_flat(row) for row in batch], schema=schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, ROWS)):
        yield batch


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: json.dumps(row[name]) for name in _JSON if row.get(name) is not None}
