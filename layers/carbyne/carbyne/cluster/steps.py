"""The steps of which every plan for a cluster is made, and what each says to people.

A step names nodes by host:port.  Each one can be repeated: what is done already is left alone.
"""

from typing import NamedTuple

from carbyne.cluster.topology import lanes_in, spans


class Meet(NamedTuple):
    """``nodes`` become known to all nodes of the cluster that ``by`` is in."""

    nodes: tuple[str, ...]
    by: str

    def __str__(self) -> str:
        return f"{', '.join(self.nodes)} {'meets' if len(self.nodes) == 1 else 'meet'} the cluster"


class Own(NamedTuple):
    """``node`` serves slots that no node serves."""

    node: str
    slots: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.node} takes {_amount(self.slots)} that no node serves"


class Follow(NamedTuple):
    """``node`` becomes a replica of ``master`` and loads all that it has."""

    node: str
    master: str

    def __str__(self) -> str:
        return f"{self.node} becomes a replica of {self.master} and copies it"


class Move(NamedTuple):
    """Slots go from one master to another with their keys, while both are in use."""

    source: str
    target: str
    slots: tuple[int, ...]

    def __str__(self) -> str:
        return f"{_amount(self.slots)} move from {self.source} to {self.target}"


class Settle(NamedTuple):
    """``node`` forgets that ``slots`` were to move: they are where they belong."""

    node: str
    slots: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.node} ends the interrupted move of {_amount(self.slots)}"


class Await(NamedTuple):
    """Until the moves end that ``node`` is in the middle of."""

    node: str

    def __str__(self) -> str:
        return f"wait for the moves that {self.node} has under way"


class Promote(NamedTuple):
    """``node`` takes over from ``master`` when it has all that the master acknowledged."""

    node: str
    master: str

    def __str__(self) -> str:
        return f"{self.node} takes over from {self.master} when it has everything"


class Forget(NamedTuple):
    """No node knows ``node`` any more, and it none of them."""

    node: str

    def __str__(self) -> str:
        return f"all others forget {self.node}"


Step = Meet | Own | Follow | Move | Settle | Await | Promote | Forget


def _amount(slots: tuple[int, ...]) -> str:
    ranges = spans(slots)
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges[:3])
    more = f" and {len(ranges) - 3} more spans" if len(ranges) > 3 else ""
    return f"{lanes_in(slots):,} lanes ({_counted(len(slots), 'slot')}: {shown}{more})"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
