"""What is said of two policies on the same observations, against the same by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from checkrein.judge.divergence import EXAMPLES, FEATURES, Divergence, Latencies, Pair, merge

RNG = np.random.default_rng(5)
NAMES = ["x", "v", "lean", "still"]


def pairs(count: int) -> list[Pair]:
    """Two discrete actions: the candidate leans elsewhere; `still` never changes."""
    out = []
    for i in range(count):
        observation = np.append(RNG.normal(size=3) * (1, 10, 0.1) + (5, 0, 0), 2.5)
        stable, candidate = int(observation[0] > 5), int(observation[0] + 5 * observation[2] > 5)
        apart = float(stable != candidate)
        arrays = np.array([stable], float), np.array([candidate], float)
        out.append(Pair(f"d-{i}", observation, *arrays, not apart, apart, 0.5 * i, f"{stable}>{candidate}"))
    return out


def report(chosen: list[Pair], **counts: int) -> dict[str, Any]:
    divergence = Divergence(NAMES)
    for i, pair in enumerate(chosen):
        divergence.add(pair)
        divergence.latencies.add(100.0 + i)
    return {**divergence.report(), **counts}


def test_numbers_are_those_by_hand() -> None:
    chosen = pairs(500)
    made = report(chosen)
    seen, differed = np.array([p.observation for p in chosen]), np.array([not p.agreed for p in chosen])
    assert (made["compared"], made["agreed"]) == (500, 500 - differed.sum())
    assert made["distance"] == pytest.approx(differed.mean())
    assert made["value"] == pytest.approx(0.5 * 499 / 2)
    assert sum(made["actions"].values()) == 500
    assert made["actions"]["0>1"] == sum(p.actions == "0>1" for p in chosen)
    by_name = {f["name"]: f for f in made["features"]}
    for i, name in enumerate(NAMES):
        means = seen[~differed, i].mean(), seen[differed, i].mean()
        assert (by_name[name]["agreed"], by_name[name]["differed"]) == pytest.approx(means)
        spread = seen[:, i].std()
        assert by_name[name]["effect"] == pytest.approx((means[1] - means[0]) / spread if spread > 1e-9 else 0.0)


def test_examples_are_the_farthest_and_of_those_the_latest() -> None:
    observation = np.zeros(4)
    apart = [0.2, 1.0, 0.5, *[0.5] * 10, 0.0]
    chosen = [Pair(f"d-{i}", observation, np.zeros(1), np.full(1, d), d == 0, d) for i, d in enumerate(apart)]
    found = [example["decision"] for example in report(chosen)["examples"]]
    assert found == ["d-1", *(f"d-{i}" for i in range(12, 12 - EXAMPLES + 1, -1))]


def test_only_the_clearest_features_are_told() -> None:
    divergence = Divergence([f"observation[{i}]" for i in range(100)])
    for i in range(400):
        observation = RNG.normal(size=100)
        apart = observation[77] > 0
        divergence.add(Pair(f"d-{i}", observation, np.zeros(1), np.ones(1), not apart, float(apart)))
    found = divergence.report()["features"]
    assert len(found) == FEATURES
    assert (found[0]["name"], found[0]["effect"] > 1) == ("observation[77]", True)


def test_what_float64_does_not_hold_is_left_out() -> None:
    chosen = [
        Pair("a", np.array([1e308, 1.0]), np.zeros(1), np.ones(1), False, 1.0),
        Pair("b", np.array([-1e308, 2.0]), np.zeros(1), np.zeros(1), True, 0.0),
        Pair("c", np.array([1e308, 3.0]), np.zeros(1), np.zeros(1), True, 0.0),
    ]
    divergence = Divergence(["huge", "plain"])
    for pair in chosen:
        divergence.add(pair)
    assert [f["name"] for f in divergence.report()["features"]] == ["plain"]


def test_latencies_are_right_within_their_buckets() -> None:
    latencies = Latencies()
    for micros in range(1, 10_001):
        latencies.add(float(micros))
    assert latencies.quantile(0.5) == pytest.approx(5_000, rel=0.03)
    assert latencies.quantile(0.99) == pytest.approx(9_900, rel=0.03)
    assert Latencies().quantile(0.5) is None


def test_replicas_together_are_as_one() -> None:
    chosen = pairs(600)
    parts = [report(chosen[:100], failed=1, dropped=5), report(chosen[100:350], failed=2), report(chosen[350:])]
    made, whole = merge(parts), report(chosen)
    assert (made["failed"], made["dropped"], made["invalid"], made["shielded"]) == (3, 5, 0, 0)
    for name in ("compared", "agreed", "actions"):
        assert made[name] == whole[name]
    for name in ("distance", "value"):
        assert made[name] == pytest.approx(whole[name])
    for mine, theirs in zip(made["features"], whole["features"], strict=True):
        assert mine["name"] == theirs["name"]
        assert [mine[n] for n in ("agreed", "differed", "effect")] == pytest.approx(
            [theirs[n] for n in ("agreed", "differed", "effect")]
        )
    assert len(made["examples"]) == EXAMPLES
    assert made["latency_p99_us"] == max(part["latency_p99_us"] for part in parts)
    assert min(p["latency_p50_us"] for p in parts) <= made["latency_p50_us"] <= made["latency_p99_us"]


def test_each_replica_shows_its_latest_examples() -> None:
    parts = [report(pairs(200)) for _ in range(2)]
    shown = merge(parts)["examples"]
    assert all(sum(e in part["examples"] for e in shown) >= EXAMPLES // 2 for part in parts)


def test_nobody_says_nothing() -> None:
    made = merge([])
    assert (made["compared"], made["value"], made["latency_p50_us"], made["features"]) == (0, None, None, [])
    assert merge([made, report(pairs(10))])["compared"] == 10
