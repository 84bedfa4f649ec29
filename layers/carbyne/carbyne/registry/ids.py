"""Ids of hosts."""

import string
from collections.abc import Callable
from hashlib import sha1
from typing import Final

ALPHABET: Final = string.digits + string.ascii_letters
CHARACTERS: Final = 11
"""As Mackerel's: 65 bits."""


def new_host_id(choice: Callable[[str], str]) -> str:
    """Random characters by ``choice`` of one.

    An agent posts at second ``sha1(id)[-1] % 60`` of each minute, so that of all bytes 0 to 15 of those seconds would
    get a quarter more; ids of the bytes from 240 on are drawn again, and every second gets the same.
    """
    while True:
        drawn = "".join(choice(ALPHABET) for _ in range(CHARACTERS))
        if sha1(drawn.encode(), usedforsecurity=False).digest()[-1] < 240:
            return drawn
