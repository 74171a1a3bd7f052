"""A script outside of Unicron: one process that is all of its task, so that the same lines run anywhere."""

from __future__ import annotations

from typing import Optional

from ..agent import Agent
from ..interrupt import Interrupt
from ..protocol import Group, Message
from ..protocol import Member as Peer
from .collectives import Collectives
from .member import Member
from .settings import Place

PLACE = Place(worker=0, node="", host="127.0.0.1", store="", checkpoints=None)
"""Where it is."""


class NoAgent(Agent):
    """Nobody listens, and nobody asks for anything."""

    def __init__(self) -> None:
        # Nothing of an agent's: there is no connection.
        self.worker = 0
        self.lease_s = 0.0
        self.lost = None
        self.stop_reason = None
        self.checkpoint_committed = 0
        self.news = Interrupt()
        self.group: Optional[Group] = Group(1, (Peer(0, 0, "", ""),))

    def newest(self) -> Optional[Group]:
        """Always the same."""
        return self.group

    def send(self, message: Message) -> None:
        """Said to nobody."""

    def flush(self, timeout_s: float) -> bool:
        """Nothing waits."""
        return True

    def check_lease(self) -> None:
        """There is none."""


def follow(member: Member) -> None:
    """The group is this process."""
    if member.group is not None:
        return
    member.group = member.agent.newest()
    assert member.group is not None, "it is always there"
    member.epoch = member.group.epoch
    member.collectives = Collectives(
        member.backend, None, 0, [member.place.host], member.timeout_s, member.agent.news
    )
    if member.state.applied is None:
        member.state.applied = 0
    member.begin_at(member.state.applied + 1)
