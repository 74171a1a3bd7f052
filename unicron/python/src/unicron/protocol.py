"""The protocol between a worker and the agent of its node: one JSON object a line, over a Unix socket.

The Rust side, ``unicron::worker::protocol``, is the contract; this is its mirror, with the same names and
the same limits. State and gradients never pass here.

A message that speaks of a group carries its epoch; what carries an older epoch than the last group's is
refused by the coordinator.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple, Union

PROTOCOL = 1
"""The version of the protocol. Agents refuse others, by name."""

MOST_LINE_BYTES = 256 * 1024
"""Bytes of the longest line."""

MOST_WAITED_FOR = 4096
"""Workers that one waits for at a time."""

MOST_MEMBERS = 1 << 16
"""Members of the largest group that is believed."""

MOST_TEXT_CHARACTERS = 18_000
"""Characters of a traceback or an error that are passed on. One may take twelve bytes of JSON, and escapes
must not make a line too long."""

STEP_KINDS = ("warm-up", "train", "evaluation", "checkpoint")
"""What a step may be: each kind has its own usual time."""

Message = Dict[str, Any]


class ProtocolError(Exception):
    """What has come is no message; nobody knows what comes after it."""


@dataclass(frozen=True)
class Member:
    """A worker of a group."""

    worker: int
    stage: int
    node: str
    address: str
    """Where it is reached, ``host:port``: for workers of this package their node's store."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk that counts."""

    iteration: int
    path: str


@dataclass(frozen=True)
class Welcome:
    """The answer to ``hello``."""

    task: str
    lease_s: float


@dataclass(frozen=True)
class Group:
    """Who works together from now on. The rank of a worker is its place among the members."""

    epoch: int
    members: Tuple[Member, ...]
    checkpoint: Optional[Checkpoint] = None

    def rank(self, worker: int) -> Optional[int]:
        """The place of a worker, if it is a member."""
        places = (place for place, member in enumerate(self.members) if member.worker == worker)
        return next(places, None)


@dataclass(frozen=True)
class Lease:
    """Work on for so many seconds; ``None`` is without a limit."""

    seconds: Optional[float]


@dataclass(frozen=True)
class CheckpointCommitted:
    """A checkpoint on disk counts."""

    iteration: int


@dataclass(frozen=True)
class Refused:
    """Something does not count."""

    what: str
    reason: str


@dataclass(frozen=True)
class Stop:
    """End, with exit code 0."""

    reason: str


FromAgent = Union[Welcome, Group, Lease, CheckpointCommitted, Refused, Stop]


def encode(message: Message) -> bytes:
    """A message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines:
    """Makes messages of what arrives in pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[FromAgent]:
        """The messages that are whole now.

        Raises :class:`ProtocolError` for a line that is too long or is no message.
        """
        self._rest += data
        while True:
            end = self._rest.find(b"\n")
            if end < 0:
                break
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            message = parse(line)
            if message is not None:
                yield message
        if len(self._rest) > MOST_LINE_BYTES:
            raise ProtocolError(f"a line has more than {MOST_LINE_BYTES} bytes")


def parse(line: bytes) -> Optional[FromAgent]:
    """A line as a message; ``None`` for a type that a newer agent may know.

    Raises :class:`ProtocolError` for what is no message.
    """
    try:
        if len(line) > MOST_LINE_BYTES:
            raise ValueError(f"more than {MOST_LINE_BYTES} bytes")
        fields = json.loads(line)
        kind = _text(fields["type"])
        read = _READERS.get(kind)
        return read(fields) if read else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        start = line[:80].decode(errors="replace")
        raise ProtocolError(f"{start!r} is no message: {type(error).__name__}: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise TypeError(f"{value!r} is no count")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number of seconds")
    return float(value)


def _welcome(fields: Message) -> Welcome:
    if _count(fields["protocol"]) != PROTOCOL:
        raise ValueError(f"the agent speaks protocol {fields['protocol']}, this worker {PROTOCOL}")
    return Welcome(_text(fields["task"]), _seconds(fields["lease_s"]))


def _group(fields: Message) -> Group:
    listed = fields["members"]
    if not isinstance(listed, list) or len(listed) > MOST_MEMBERS:
        raise TypeError("members are no list, or too many")
    members = tuple(
        Member(_count(m["worker"]), _count(m["stage"]), _text(m["node"]), _text(m["address"])) for m in listed
    )
    checkpoint = fields.get("checkpoint")
    if checkpoint is not None:
        checkpoint = Checkpoint(_count(checkpoint["iteration"]), _text(checkpoint["path"]))
    return Group(_count(fields["epoch"]), members, checkpoint)


def _lease(fields: Message) -> Lease:
    seconds = fields["seconds"]
    return Lease(None if seconds is None else _seconds(seconds))


_READERS: Dict[str, Callable[[Message], FromAgent]] = {
    "welcome": _welcome,
    "group": _group,
    "lease": _lease,
    "checkpoint-committed": lambda fields: CheckpointCommitted(_count(fields["iteration"])),
    "refused": lambda fields: Refused(_text(fields["what"]), _text(fields["reason"])),
    "stop": lambda fields: Stop(_text(fields["reason"])),
}


def hello(worker: int, pid: int) -> Message:
    """The first line of a worker."""
    return {"type": "hello", "protocol": PROTOCOL, "worker": worker, "pid": pid}


def ready(address: str, fingerprint: str) -> Message:
    """It can be part of a group; others reach it at ``address``."""
    return {"type": "ready", "address": address, "fingerprint": fingerprint}


def iteration(epoch: int, number: int, kind: str) -> Message:
    """An iteration begins; ``kind`` is one of :data:`STEP_KINDS`."""
    return {"type": "iteration", "epoch": epoch, "iteration": number, "kind": kind}


def micro_batch(epoch: int, number: int, which: int, is_redone: bool) -> Message:
    """A micro-batch is in the worker's gradients; ``is_redone`` if somebody who died had begun it."""
    message = {"type": "micro-batch", "epoch": epoch, "iteration": number, "micro_batch": which}
    if is_redone:
        message["is_redone"] = True
    return message


def committed(epoch: int, number: int, loss: Optional[float], redone: int = 0) -> Message:
    """An iteration counts. A loss that is no number is left out: JSON has none."""
    message: Message = {"type": "committed", "epoch": epoch, "iteration": number}
    if loss is not None and math.isfinite(loss):
        message["loss"] = loss
    message["redone"] = {"micro_batches": redone, "stage_passes": redone}
    return message


def rolled_back(epoch: int, number: int) -> Message:
    """The group goes back to an iteration of which everything can be had."""
    return {"type": "rolled-back", "epoch": epoch, "iteration": number}


def exception(message: str, traceback: str, status: Optional[str] = None) -> Message:
    """Something was raised. Of long texts the end is kept, where Python says what it was. ``status`` is the
    name of what it is, where the worker knows; else the agent reads the message."""
    said: Message = {"type": "exception"}
    if status is not None:
        said["status"] = status
    said["message"] = message[-MOST_TEXT_CHARACTERS // 8 :].replace("\n", " ")
    said["traceback"] = traceback[-MOST_TEXT_CHARACTERS:]
    return said


def lost_peer(epoch: int, worker: int, error: str) -> Message:
    """The connection to another worker is gone."""
    return {"type": "lost-peer", "epoch": epoch, "worker": worker, "error": error[:600]}


def waiting(epoch: int, workers: Sequence[int]) -> Message:
    """Nothing to do until these send something."""
    return {"type": "waiting", "epoch": epoch, "workers": list(workers)[:MOST_WAITED_FOR]}


def checkpoint(epoch: int, number: int, path: str) -> Message:
    """A checkpoint is on disk; it counts when the agent answers."""
    return {"type": "checkpoint", "epoch": epoch, "iteration": number, "path": path}


def done(
    epoch: int,
    number: int,
    weights_file: Optional[str] = None,
    weights_sha256: Optional[str] = None,
) -> Message:
    """The task has done its work; ``number`` is its last iteration."""
    message: Message = {"type": "done", "epoch": epoch, "iteration": number}
    if weights_file is not None:
        message["weights_file"] = weights_file
    if weights_sha256 is not None:
        message["weights_sha256"] = weights_sha256
    return message
