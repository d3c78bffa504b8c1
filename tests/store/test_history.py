"""A deployment's history: whole, in order, each entry once, whoever races, crashes, deletes or overwrites."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.store.conftest import AnswersLost, Buckets, Crash

from checkrein.api.rollout import GateVerdict, HistoryEntry
from checkrein.store.client import Store
from checkrein.store.errors import StoreRefused, StoreUnavailable
from checkrein.store.history import History

pytestmark = pytest.mark.store
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def entry(policy: str = "cartpole-2", event: Any = "Promoted", minutes: int = 0, **more: Any) -> HistoryEntry:
    gates = [GateVerdict(name="return", verdict="Pass", message="candidate 498.1, stable 447.0")]
    return HistoryEntry(
        seq=more.pop("seq", 0),
        event=event,
        policy=policy,
        digest="sha256:" + "a" * 64,
        since="cartpole-1",
        time=NOON + timedelta(minutes=minutes),
        by="ops@example.com",
        gates=gates,
        **more,
    )


def append(store: Store, one: HistoryEntry, name: str = "cartpole") -> int:
    return History(store).append("c", "ns", name, one)


def told(store: Store, name: str = "cartpole") -> list[tuple[int, str, str]]:
    return [(e.seq, e.event, e.policy) for e in History(store).read("c", "ns", name)]


def key(number: int) -> str:
    return f"history/c/ns/cartpole/{number}"


def test_what_was_appended_is_read_in_order_and_whole(policies: Store) -> None:
    entries = [entry(f"cartpole-{i}", "Rejected" if i % 2 else "Promoted", i, message="why") for i in range(12)]
    assert [append(policies, e) for e in entries] == list(range(1, 13))
    assert History(policies).read("c", "ns", "cartpole") == tuple(
        e.model_copy(update={"seq": i, "stored": True}) for i, e in enumerate(entries, 1)
    )


def test_nothing_was_ever_said_of_a_new_name(policies: Store) -> None:
    assert told(policies) == []


def test_a_name_has_its_own(policies: Store) -> None:
    assert append(policies, entry()) == 1
    assert append(policies, entry(), "cart") == 1
    assert append(policies, entry("cartpole-3"), "cart") == 2
    assert History(policies).read("c", "elsewhere", "cartpole") == ()
    assert told(policies) == [(1, "Promoted", "cartpole-2")]


def test_the_same_entry_is_there_once(policies: Store) -> None:
    history = History(policies)
    first, second = entry(), entry("cartpole-3", "Aborted")
    assert [history.append("c", "ns", "cartpole", e) for e in (first, second, first, second)] == [1, 2, 1, 2]
    said_otherwise = first.model_copy(update={"message": "in other words", "seq": 9})
    assert append(policies, said_otherwise) == 1
    assert told(policies) == [(1, "Promoted", "cartpole-2"), (2, "Aborted", "cartpole-3")]


@pytest.mark.parametrize(
    "another",
    [
        pytest.param(entry("cartpole-3"), id="of another version"),
        pytest.param(entry(event="RolledBack"), id="another event"),
        pytest.param(entry(minutes=1), id="later"),
        pytest.param(entry(epoch=4), id="of an epoch, and the other one of none"),
        pytest.param(entry().model_copy(update={"digest": "sha256:" + "b" * 64}), id="other bytes under that name"),
    ],
)
def test_another_entry_gets_a_number_of_its_own(policies: Store, another: HistoryEntry) -> None:
    assert [append(policies, e) for e in (entry(), another)] == [1, 2]


def test_a_promotion_is_known_by_its_epoch_whatever_the_clock_says(policies: Store) -> None:
    entries = [entry(epoch=4), entry(epoch=4, minutes=1), entry(epoch=5)]
    assert [append(policies, e) for e in entries] == [1, 1, 2]


def test_racing_entries_are_all_there(policies: Store) -> None:
    entries = [entry(f"cartpole-{i}") for i in range(20)]
    with ThreadPoolExecutor(20) as pool:
        numbers = list(pool.map(lambda e: append(policies, e), entries))
    assert sorted(numbers) == list(range(1, 21))
    assert [append(policies, entries[i]) for i in (0, 19)] == [numbers[0], numbers[19]]


def test_one_entry_racing_with_itself_is_there_once(policies: Store) -> None:
    append(policies, entry("cartpole-1"))
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: append(policies, entry()), range(20))) == {2}
    assert len(told(policies)) == 2


def test_deleting_hides_nothing(policies: Store) -> None:
    for one in (entry("cartpole-2", "Rejected"), entry("cartpole-3")):
        append(policies, one)
    for number in (1, 2):
        policies.delete(key(number))
    assert told(policies) == [(1, "Rejected", "cartpole-2"), (2, "Promoted", "cartpole-3")]
    assert append(policies, entry("cartpole-4")) == 3
    assert append(policies, entry("cartpole-2", "Rejected")) == 1


def test_overwriting_changes_nothing(policies: Store) -> None:
    append(policies, entry("cartpole-2", "Rejected"))
    policies.put(key(1), entry("cartpole-2", "Promoted").model_dump_json(by_alias=True).encode())
    assert told(policies) == [(1, "Rejected", "cartpole-2")]


@pytest.mark.parametrize(
    "squatter", [pytest.param(b"no entry", id="small"), pytest.param(b"x" * (2**20 + 1), id="huge")]
)
def test_what_is_no_entry_takes_a_number_and_is_not_passed_over_in_reading(policies: Store, squatter: bytes) -> None:
    """It may be what a later release wrote to refuse a version."""
    policies.put(key(1), squatter)
    assert [append(policies, entry()), append(policies, entry())] == [2, 2]
    with pytest.raises(StoreRefused, match=f"{key(1)} .* is no entry of a history"):
        told(policies)


def test_foreign_objects_beside_the_entries_are_ignored(policies: Store) -> None:
    append(policies, entry())
    policies.put(key(1) + "/notes", b"x")
    policies.put("history/c/ns/cartpole/latest", b"x")
    assert told(policies) == [(1, "Promoted", "cartpole-2")]


def test_a_crash_after_the_write_loses_no_entry(installation: Buckets, policies: Store) -> None:
    with pytest.raises(Crash):
        append(installation.crashing(after_writes=1), entry())
    assert append(policies, entry()) == 1
    assert told(policies) == [(1, "Promoted", "cartpole-2")]


def test_a_lost_answer_makes_no_second_entry(installation: Buckets, policies: Store) -> None:
    assert append(installation.store(installation.policies, kind=AnswersLost), entry()) == 1
    assert len(told(policies)) == 1


def test_without_a_store_nothing_is_known_and_nothing_is_kept(installation: Buckets) -> None:
    nowhere = Store(installation.location("policies").model_copy(update={"endpoint": "127.0.0.1:1"}), installation.keys)
    with pytest.raises(StoreUnavailable):
        append(nowhere, entry())
    with pytest.raises(StoreUnavailable):
        told(nowhere)


def test_who_reads_again_sees_what_others_have_appended(policies: Store) -> None:
    history = History(policies)
    history.append("c", "ns", "cartpole", entry())
    append(policies, entry("cartpole-3"))
    assert [e.policy for e in history.read("c", "ns", "cartpole")] == ["cartpole-2", "cartpole-3"]
