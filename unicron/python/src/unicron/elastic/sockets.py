"""The TCP connections of this process that a process group has opened, so that they can be ended.

A process group of gloo can't be aborted: a peer that is stopped or cut off in silence leaves the others in
the all-reduce until its time-out, and the group can't even be destroyed before. Ending its connections under
it makes every call that waits fail at once, as if the peers had gone.

Which connections are the group's is known by what was there before it was made. Those to other hosts than
the members' are left alone, should another thread have opened one at that moment; and a connection is known
by its number in the kernel, which isn't given again, not by that of the file, which is.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Iterable, List, Optional, Set


@dataclass(frozen=True)
class Connection:
    """A TCP socket of this process."""

    file: int
    name: str
    """``socket:[number]``, as in /proc."""
    local: Optional[str] = None
    """``host:port`` of this end."""
    peer: Optional[str] = None
    """Of the other; nothing of one that only listens."""


def open_now() -> Set[str]:
    """Names of all sockets that are open."""
    return set(_names().values())


def opened_since(before: Set[str], hosts: Iterable[str]) -> List[Connection]:
    """TCP sockets that weren't open before, and that listen or lead to one of these hosts."""
    wanted = set(hosts)
    found = []
    for file, name in _names().items():
        connection = None if name in before else _look_at(file, name)
        if connection is not None and (connection.peer is None or _host(connection.peer) in wanted):
            found.append(connection)
    return found


def end(connections: Iterable[Connection]) -> None:
    """Ends connections; whoever waits on them, here or there, hears of it. Their files stay with whoever
    has opened them."""
    for connection in connections:
        copy = _copy(connection.file)
        if copy is None:
            continue
        with copy:
            if _names_of(copy.fileno()) != connection.name:
                continue
            try:
                copy.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It has ended already, or only listens.
                pass


def addresses_of(host: str) -> Set[str]:
    """Numeric addresses of a host; none if nobody knows it."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _names() -> "dict[int, str]":
    names = {}
    for file in os.listdir("/proc/self/fd"):
        name = _names_of(int(file))
        if name is not None and name.startswith("socket:"):
            names[int(file)] = name
    return names


def _names_of(file: int) -> Optional[str]:
    try:
        return os.readlink(f"/proc/self/fd/{file}")
    except OSError:
        return None


def _copy(file: int) -> Optional[socket.socket]:
    try:
        copied = os.dup(file)
    except OSError:
        return None
    try:
        return socket.socket(fileno=copied)
    except OSError:
        os.close(copied)
        return None


def _look_at(file: int, name: str) -> Optional[Connection]:
    copy = _copy(file)
    if copy is None:
        return None
    with copy:
        if copy.family not in (socket.AF_INET, socket.AF_INET6) or copy.type != socket.SOCK_STREAM:
            return None
        try:
            local = _written(copy.getsockname())
            peer = _written(copy.getpeername())
        except OSError:
            return Connection(file, name)
    return Connection(file, name, local, peer)


def _written(address: "tuple[object, ...]") -> str:
    host = str(address[0])
    return f"[{host}]:{address[1]}"


def _host(written: str) -> str:
    return written[1 : written.rindex("]")]
