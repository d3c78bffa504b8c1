"""Keys: one place for each thing, and no two things in one place."""

from __future__ import annotations

import pytest

from checkrein.store import keys

DIGEST = f"sha256:ab{'0' * 62}"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(keys.run_prefix("c", "ns", "u"), "runs/c/ns/u/", id="a job"),
        pytest.param(keys.training_prefix("c", "ns", "u", 2), "runs/c/ns/u/2/train/", id="an attempt's training"),
        pytest.param(keys.evaluation_prefix("c", "ns", "u", 2), "runs/c/ns/u/2/evaluate/", id="its evaluation"),
        pytest.param(keys.decisions_prefix("c", "ns", "u"), "decisions/c/ns/u/", id="a decision log"),
        pytest.param(keys.content(DIGEST), f"sha256/ab/ab{'0' * 62}", id="content"),
        pytest.param(keys.versions_prefix("c", "ns", "p"), "versions/c/ns/p/", id="version numbers"),
        pytest.param(keys.history_prefix("c", "ns", "n"), "history/c/ns/n/", id="a deployment's history"),
        pytest.param(
            keys.evaluations_prefix("c", "ns", "p", DIGEST), f"evaluations/c/ns/p/ab{'0' * 62}/", id="evaluations"
        ),
    ],
)
def test_the_scheme(key: str, expected: str) -> None:
    assert key == expected


@pytest.mark.parametrize("part", ["", "a/b", ".", ".."])
def test_a_part_that_would_lead_elsewhere_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a key"):
        keys.run_prefix("c", part, "u")


def test_complete_checkpoints_are_found_newest_first_over_all_attempts() -> None:
    def of(attempt: int, step: int) -> str:
        return keys.checkpoint_prefix(keys.training_prefix("c", "n", "u", attempt), step) + keys.CHECKPOINT_MANIFEST

    incomplete = of(3, 900).replace(keys.CHECKPOINT_MANIFEST, "network.pt")
    listed = [of(1, 20), of(1, 100), of(2, 100), of(2, 40), incomplete]
    assert keys.checkpoints(listed) == [of(2, 100), of(1, 100), of(2, 40), of(1, 20)]
