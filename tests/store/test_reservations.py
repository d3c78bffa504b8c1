"""Numbers are given once: whoever races, crashes or deletes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.store.conftest import AnswersLost, Buckets, Crash

from checkrein.store.client import Store
from checkrein.store.errors import StoreUnavailable
from checkrein.store.reservations import OWNER_LIMIT, reserve_evaluation, reserve_version

pytestmark = pytest.mark.store
ENVIRONMENT = f"sha256:{'e' * 64}"


def reserve(store: Store, owner: str, policy: str = "cartpole") -> int:
    return reserve_version(store, "c", "ns", policy, owner)


def key(number: int) -> str:
    return f"versions/c/ns/cartpole/{number}"


def test_numbers_count_from_one_and_each_owner_keeps_its_own(policies: Store) -> None:
    assert [reserve(policies, o) for o in ("job-a", "job-b", "job-a", "job-c", "job-b")] == [1, 2, 1, 3, 2]


def test_numbers_go_on_past_ten(policies: Store) -> None:
    assert [reserve(policies, f"job-{i}") for i in range(12)] == list(range(1, 13))
    assert reserve(policies, "job-0") == 1


def test_a_policys_numbers_are_its_own(policies: Store) -> None:
    assert reserve(policies, "job", "cart") == 1
    assert reserve(policies, "other", "cartpole") == 1
    assert reserve_version(policies, "c", "elsewhere", "cartpole", "other") == 1


def test_evaluations_are_counted_by_policy_and_environment(policies: Store) -> None:
    counted = [reserve_evaluation(policies, "c", "ns", "cartpole", ENVIRONMENT, o) for o in ("j/1", "j/2", "j/1")]
    assert counted == [1, 2, 1]
    assert reserve_evaluation(policies, "c", "ns", "cartpole", f"sha256:{'f' * 64}", "j/2") == 1
    assert reserve(policies, "j/2") == 1


def test_fifty_racing_owners_get_fifty_numbers(policies: Store) -> None:
    with ThreadPoolExecutor(50) as pool:
        numbers = list(pool.map(lambda i: reserve(policies, f"job-{i}"), range(50)))
    assert sorted(numbers) == list(range(1, 51))
    assert [reserve(policies, f"job-{i}") for i in (0, 49)] == [numbers[0], numbers[49]]


def test_one_owner_racing_with_itself_gets_one_number(policies: Store) -> None:
    reserve(policies, "earlier")
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: reserve(policies, "job"), range(20))) == {2}


def test_a_deleted_reservation_still_counts(policies: Store) -> None:
    for owner in ("job-a", "job-b"):
        reserve(policies, owner)
    policies.delete(key(1))
    policies.delete(key(2))
    assert [reserve(policies, o) for o in ("job-c", "job-b", "job-a")] == [3, 2, 1]


def test_an_overwritten_reservation_stays_its_first_owners(policies: Store) -> None:
    reserve(policies, "job-a")
    policies.put(key(1), b"job-b")
    assert [reserve(policies, o) for o in ("job-b", "job-a")] == [2, 1]


def test_a_number_of_which_only_a_delete_marker_is_left_still_counts(installation: Buckets) -> None:
    """As after the retention's end, when an administrator may delete versions."""
    unretained = installation.store(f"{installation.policies}-unretained")
    unretained.client.make_bucket(unretained.location.bucket, object_lock=True)
    written = unretained.put(key(7), b"gone")
    unretained.delete(key(7))
    unretained.client.remove_object(unretained.location.bucket, key(7), version_id=written.version_id)
    assert [v.is_delete_marker for v in unretained.versions("")] == [True]
    assert reserve(unretained, "job") == 8


@pytest.mark.parametrize(
    "squatter", [pytest.param(b"bot-x", id="as long as an owner"), pytest.param(b"x" * 5000, id="huge")]
)
def test_a_squatted_number_is_passed_over(policies: Store, squatter: bytes) -> None:
    policies.put(key(1), squatter)
    assert [reserve(policies, "job-a"), reserve(policies, "job-a")] == [2, 2]


def test_foreign_objects_among_the_reservations_are_ignored(policies: Store) -> None:
    policies.put(key(1) + "/notes", b"job")
    policies.put("versions/c/ns/cartpole/latest", b"job")
    assert reserve(policies, "job") == 1


class DeletedMeanwhile(Store):
    """Between looking and writing, somebody reserves the next number and deletes it again."""

    def versions(self, prefix):  # type: ignore[no-untyped-def]
        listed = super().versions(prefix)
        if not listed:
            Store.put(self, key(1), b"rival")
            Store.delete(self, key(1))
        return listed


def test_a_number_hidden_by_a_fresh_delete_marker_is_not_given_again(installation: Buckets, policies: Store) -> None:
    racing = installation.store(installation.policies, kind=DeletedMeanwhile)
    assert reserve(racing, "job") == 2
    assert reserve(policies, "rival") == 1


def test_a_crash_after_the_write_loses_no_number(installation: Buckets, policies: Store) -> None:
    reserve(policies, "earlier")
    with pytest.raises(Crash):
        reserve(installation.crashing(after_writes=1), "job")
    assert [reserve(policies, "later"), reserve(policies, "job")] == [3, 2]


def test_a_lost_answer_loses_no_number(installation: Buckets) -> None:
    assert reserve(installation.store(installation.policies, kind=AnswersLost), "job") == 1


def test_without_a_store_no_number_is_given(installation: Buckets) -> None:
    nowhere = Store(installation.location("policies").model_copy(update={"endpoint": "127.0.0.1:1"}), installation.keys)
    with pytest.raises(StoreUnavailable):
        reserve(nowhere, "job")


@pytest.mark.parametrize("owner", [pytest.param("", id="nobody"), pytest.param("x" * (OWNER_LIMIT + 1), id="too long")])
def test_an_owner_needs_a_name_of_some_length(policies: Store, owner: str) -> None:
    with pytest.raises(ValueError, match="owner must have 1 to 1024 bytes"):
        reserve(policies, owner)
