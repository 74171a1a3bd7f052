"""How the members of a group tell each other what they hold.

Everybody puts its status into the group's store; the first member collects them and puts them all under one
key, so that everybody decides from the very same words, with one question each.
"""

from __future__ import annotations

import json
from typing import Callable, Dict, List

from ..protocol import Group
from ..store import Store, StoreError
from .decide import Status

WAITING_AFTER_S = 1.0
"""After so long a member says for whom it waits, and again."""

MOST_BYTES = 256 << 20
"""Bytes of all statuses together that are believed."""


def exchange(
    store: Store,
    group: Group,
    me: int,
    status: Status,
    micro_batches: int,
    say_waiting: Callable[[List[int]], None],
    is_said: Callable[[], None],
) -> Dict[int, Status]:
    """Says the own status, and hears everybody's. ``store`` holds this group's keys only; ``is_said`` is
    called between the two.

    Waits for as long as it takes. Raises :class:`StoreError` and :class:`.Interrupted`.
    """
    workers = [member.worker for member in group.members]
    store.set(f"status/{me}", json.dumps(status.to_json()).encode())
    is_said()
    if workers[0] == me:
        said = _collect(store, workers, say_waiting)
        store.set("statuses", said)
    else:
        waits = lambda: say_waiting(workers[:1])  # noqa: E731
        said = bytes(store.get("statuses", None, WAITING_AFTER_S, waits))
    return _read(store, said, workers, micro_batches)


def _collect(store: Store, workers: List[int], say_waiting: Callable[[List[int]], None]) -> bytes:
    looking = store.apart()

    def say_who() -> None:
        say_waiting([w for w in workers if not looking.check([f"status/{w}"])])

    try:
        store.wait([f"status/{w}" for w in workers], None, WAITING_AFTER_S, say_who)
    finally:
        looking.close()
    said = {str(w): json.loads(store.get(f"status/{w}")) for w in workers}
    return json.dumps(said).encode()


def _read(store: Store, said: bytes, workers: List[int], micro_batches: int) -> Dict[int, Status]:
    try:
        if len(said) > MOST_BYTES:
            raise ValueError(f"{len(said)} bytes")
        fields = json.loads(said)
        return {w: Status.from_json(fields[str(w)], micro_batches) for w in workers}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"store at {store.address}: statuses: {error}") from None
