"""Which addresses a check may connect to: the world, never the networks that only this deployment can reach.

A name is resolved once, every address that it has is judged, and the connection goes to the very address that was
judged: a second look-up could give another one.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from carbyne.core.errors import CarbyneError

Network = ipaddress.IPv4Network
Resolve = Callable[[str, int], Sequence[str]]
_METADATA: Final = ("100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4", "168.63.129.16/32")
"""Shared, special and benchmark addresses, and Azure's own host, which Python's ``is_global`` does not refuse in every
version."""
REFUSED: Final = tuple(map(ipaddress.IPv4Network, _METADATA))


class TargetError(CarbyneError):
    """The target can't be asked; the message tells the monitor's owner why."""


class Reachable(NamedTuple):
    """``address``: of ``host``, judged."""

    host: str
    address: str
    port: int


class Targets:
    """``allowed``: networks that are private and may be asked all the same; ``resolve``: addresses of a name."""

    def __init__(self, allowed: Sequence[Network], resolve: Resolve) -> None:
        self._allowed = allowed
        self._resolve = resolve

    def target(self, host: str, port: int) -> Reachable:
        """Where to connect; TargetError if the name has no address, none of IPv4, or one that is refused."""
        try:
            resolved = [ipaddress.ip_address(address) for address in self._resolve(host, port)]
        except (OSError, UnicodeError, ValueError):
            raise TargetError(f"the name {host} has no address") from None
        if not resolved:
            raise TargetError(f"the name {host} has no address")
        addresses = [address for address in resolved if isinstance(address, ipaddress.IPv4Address)]
        if not addresses:
            raise TargetError(f"{host} has addresses of IPv6 alone, which this deployment can't reach")
        for address in addresses:
            if not self._is_open(address):
                raise TargetError(f"{host} is {address}, which is not an address of the public internet")
        return Reachable(host, str(addresses[0]), port)

    def _is_open(self, address: ipaddress.IPv4Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        refused = address.is_multicast or any(address in network for network in REFUSED)
        return address.is_global and not refused


def resolve(host: str, port: int) -> list[str]:
    """All addresses that the system knows of a name."""
    return [str(place[4][0]) for place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def networks(text: str) -> list[Network]:
    """Of a comma separated list, ``10.1.0.0/16,10.2.0.0/16``."""
    return [ipaddress.IPv4Network(part.strip()) for part in text.split(",") if part.strip()]
