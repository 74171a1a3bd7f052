"""Large values through a store: in parts, with a checksum.

Parts keep memory within bounds on both sides and let the receiver begin before the sender ends. The
checksum is a CRC: it is to notice a transfer that was torn or a bit that has flipped, not an enemy, who
could change the sum as well; and it costs a tenth of a cryptographic one.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Callable, Dict, Optional, Union

from .store import Store, StoreError

PART_BYTES = 16 << 20
"""Bytes of a part."""

MOST_BYTES = 1 << 40
"""Bytes of the largest parcel that is believed."""

PART_TIMEOUT_S = 60.0
"""How long one part may take. Whoever waits is interrupted when the other is gone."""

Buffer = Union[bytes, bytearray, memoryview]


def send(store: Store, key: str, payload: Buffer, halfway: Optional[Callable[[], None]] = None) -> None:
    """Puts a parcel under a key. ``halfway`` is called in the midst of it."""
    view = memoryview(payload).cast("B")
    parts = range(0, len(view), PART_BYTES)
    # Said first, so that the receiver takes parts as they come.
    store.set(key, json.dumps({"bytes": len(view), "part_bytes": PART_BYTES}).encode())
    checksum = 0
    for number, start in enumerate(parts):
        if halfway is not None and number == len(parts) // 2:
            halfway()
        part = view[start : start + PART_BYTES]
        checksum = zlib.crc32(part, checksum)
        store.set(f"{key}/{number}", part, PART_TIMEOUT_S)
    store.set(f"{key}/end", json.dumps({"crc32": checksum}).encode())
    # The answer shows that all is there.
    store.check([f"{key}/end"], PART_TIMEOUT_S)


def receive(
    store: Store,
    key: str,
    each_s: Optional[float] = None,
    meanwhile: Optional[Callable[[], None]] = None,
    halfway: Optional[Callable[[], None]] = None,
) -> bytearray:
    """Waits for a parcel and takes it, however long it is in coming; it stays in the store.

    Raises :class:`StoreError` for one that isn't what was sent.
    """
    length, part_bytes = _read_head(store, key, store.get(key, None, each_s, meanwhile))
    payload = bytearray(length)
    view = memoryview(payload)
    checksum = 0
    starts = range(0, length, part_bytes)
    for number, start in enumerate(starts):
        if halfway is not None and number == len(starts) // 2:
            halfway()
        part = view[start : start + part_bytes]
        store.get_into(f"{key}/{number}", part, PART_TIMEOUT_S)
        checksum = zlib.crc32(part, checksum)
    end = _fields(store, f"{key}/end", store.get(f"{key}/end", PART_TIMEOUT_S))
    if end.get("crc32") != checksum:
        raise StoreError(f"store at {store.address}: the checksum of {key} is {checksum}, not {end}")
    return payload


def remove(store: Store, key: str) -> None:
    """Takes a parcel out of the store, if it is there."""
    head = store.find(key)
    if head is None:
        return
    length, part_bytes = _read_head(store, key, head)
    store.delete(key)
    for number in range(-(-length // part_bytes)):
        store.delete(f"{key}/{number}")
    store.delete(f"{key}/end")


def _fields(store: Store, key: str, value: bytearray) -> Dict[str, Any]:
    try:
        fields = json.loads(value)
        if isinstance(fields, dict):
            return fields
        problem = "it is no object"
    except ValueError as error:
        problem = str(error)
    raise StoreError(f"store at {store.address}: {key} is no parcel: {problem}")


def _read_head(store: Store, key: str, value: bytearray) -> "tuple[int, int]":
    fields = _fields(store, key, value)
    length, part_bytes = fields.get("bytes"), fields.get("part_bytes")
    is_sound = (
        isinstance(length, int)
        and isinstance(part_bytes, int)
        and 0 <= length <= MOST_BYTES
        and 1 << 10 <= part_bytes <= 1 << 30
    )
    if not is_sound:
        raise StoreError(f"store at {store.address}: {key} is a parcel of {fields}")
    assert isinstance(length, int) and isinstance(part_bytes, int)
    return length, part_bytes
