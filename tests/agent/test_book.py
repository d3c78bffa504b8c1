"""What a replica remembers of episodes."""

from __future__ import annotations

from checkrein.agent.book import Book
from checkrein.agent.episodes import Episode


def at(step: int, id_: bytes = b"a", started: float = 0.0) -> Episode:
    return Episode(id_, step, "p@0", started, b"key!")


def test_rewards_add_up_to_the_return_of_an_episode_that_was_seen_whole() -> None:
    book = Book()
    book.decided(at(0), "x", None)
    book.decided(at(1), "y", 1.0)
    book.decided(at(1), "y", 1.0)  # a retry counts once
    ended = book.ended(at(2), 2.5)
    assert ended
    assert (ended.returned, ended.forked) == (3.5, False)
    assert book.ended(at(2), 2.5) is None


def test_an_episode_that_was_elsewhere_has_no_return() -> None:
    book = Book()
    book.decided(at(0), "x", None)
    book.decided(at(5), "y", 1.0)
    assert book.decided(at(3, b"b"), "z", 1.0).returned is None
    ended = book.ended(at(6), 1.0)
    assert ended
    assert ended.returned is None


def test_the_same_step_with_another_observation_is_a_fork() -> None:
    book = Book()
    assert not book.decided(at(0), "x", None).forked
    assert book.decided(at(0), "other", None).forked
    assert book.decided(at(1), "y", 1.0).forked, "and stays one"


def test_the_oldest_goes_when_there_are_too_many() -> None:
    book = Book(size=2)
    for name in (b"a", b"b", b"c"):
        book.decided(at(0, name), "x", None)
    assert [book.find(at(0, name)) is not None for name in (b"a", b"b", b"c")] == [False, True, True]


def test_those_past_their_deadline_are_taken_out_once() -> None:
    book = Book()
    book.decided(at(0, b"a", started=10), "x", None)
    book.decided(at(0, b"b", started=20), "x", None)
    assert [entry.episode.id for entry in book.overdue(15)] == [b"a"]
    assert list(book.overdue(15)) == []
    assert len(book) == 1


def test_a_state_is_kept_for_the_next_step_and_a_retry() -> None:
    entry = Book().decided(at(0), "x", None)
    for step in (1, 2, 3):
        entry.keep(step, "p@0", ())
    assert sorted(entry.states) == [2, 3]
