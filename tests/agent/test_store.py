"""What is put comes out together, once, and not too late."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Iterator

import pytest

from agent.sources.base import Update
from agent.store import AT_LATEST, State, Store
from routes.objects.base import Object, ObjectKey
from tests.agent.objects import decoded, service


@pytest.fixture
def store() -> Iterator[Store]:
    with contextlib.closing(Store()) as store:
        yield store


def update(*objects: tuple[ObjectKey, Object], removed: tuple[ObjectKey, ...] = ()) -> Update:
    return Update(objects, removed, (), (), True)


def taken(store: Store) -> State:
    """As the loop takes: wait until there is something, then until it is due."""
    poll = select.poll()
    poll.register(store.fileno(), select.POLLIN)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        due = store.due()
        poll.poll(1000 if due is None else max(0, due - time.monotonic()) * 1000 + 1)
        state = store.take()
        if state is not None:
            return state
    raise AssertionError("nothing came")


ONE, TWO = decoded(service("one"), service("two")).items()


def test_nothing_was_put(store: Store) -> None:
    assert (store.due(), store.take()) == (None, None)


def test_updates_put_together_are_taken_together(store: Store) -> None:
    store.put(update(ONE))
    store.put(update(TWO))
    state = taken(store)
    assert state.changes == dict([ONE, TWO])
    assert (store.due(), store.take()) == (None, None)


def test_only_what_changed_since_is_changed(store: Store) -> None:
    store.put(update(ONE, TWO))
    taken(store)
    store.put(update(removed=(ONE[0],)))
    state = taken(store)
    assert state.changes == {ONE[0]: None}


def test_a_state_taken_does_not_change_any_more(store: Store) -> None:
    store.put(update(ONE))
    state = taken(store)
    store.put(update(removed=(ONE[0],)))
    assert state.changes == dict([ONE])


def test_a_put_makes_it_readable_and_a_take_quiet(store: Store) -> None:
    poll = select.poll()
    poll.register(store.fileno(), select.POLLIN)
    assert poll.poll(0) == []
    store.put(update(ONE))
    assert poll.poll(0) != []
    store.take()  # not due yet, perhaps, but seen
    assert poll.poll(0) == []


def test_a_steady_trickle_is_taken_at_the_latest_after_a_bound(store: Store) -> None:
    store.put(update(ONE))
    first = time.monotonic()
    store.put(update(TWO))
    due = store.due()
    assert due is not None
    for _ in range(100):
        store.put(update(ONE))
    assert due <= (store.due() or 0) <= first + AT_LATEST
