"""What a writer knows of the dictionaries of open windows, so that names travel only when Redis does not know them.

A dictionary gives each series of a source and window an index, in the order of their appends.  Redis keeps a digest of
it at the length after each append, and takes rows only from a writer that means the same dictionary: see write.lua.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from operator import itemgetter
from types import MappingProxyType
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from carbyne.core.errors import InvariantError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import CODED_LISTS_MAX, DICTIONARY_NAMES_MAX
from carbyne.samples.indexes import pack
from carbyne.samples.rows import DELETED, HotRow

_DIGEST_BYTES: Final = 16
_OWN_SIZE: Final = 5


class Base(NamedTuple):
    """A dictionary at a length: what rows that name its series rest on."""

    length: int
    digest: bytes

    @property
    def packed(self) -> bytes:
        """The length as Redis has it."""
        return self.length.to_bytes(4, "big")

    def after(self, names: Sequence[bytes]) -> "Base":
        """The same with ``names`` appended: the digest is of everything before and of them."""
        digest = blake2b(self.digest + b"\n".join(names), digest_size=_DIGEST_BYTES).digest()
        return Base(self.length + len(names), digest)


NOTHING: Final = Base(0, b"")


class _Coded(NamedTuple):
    """A list of series in words of a dictionary: kind and head of its rows; the order of its values, None if they
    ascend by index already."""

    head: bytes
    order: NDArray[np.int32] | None


class Append(NamedTuple):
    """Rows of a group as Redis stores them, (field, value) each; they rest on ``base`` and then ``names``."""

    base: Base
    names: Sequence[bytes]
    rows: list[tuple[bytes, bytes]]

    @property
    def after(self) -> Base:
        """The dictionary that Redis has then."""
        return self.base.after(self.names) if self.names else self.base


def names_of(rows: Iterable[HotRow]) -> set[bytes]:
    """Every series that a row has."""
    return {name for row in rows if row.kind != DELETED for name in row.series.split(b"\n")}


class _Names:
    """Names with their indexes, and lists in words of them.  Windows with the same names share them."""

    def __init__(self, indexes: Mapping[bytes, int] = MappingProxyType({})) -> None:
        self.indexes = dict(indexes)
        self.coded: dict[bytes, _Coded] = {}


class Shared:
    """``of``: names in the order of their indexes, one a line -> the one of these; ``has_grown``: since it was set to
    False, a window was met or names were added to one."""

    def __init__(self) -> None:
        self.of: WeakValueDictionary[bytes, _Names] = WeakValueDictionary()
        self.has_grown = True


class Dictionary:
    """One window's, as far as a writer knows it: perhaps nothing but its length and digest."""

    def __init__(self, shared: Shared | None = None) -> None:
        self.base = NOTHING
        self.is_doubted = False
        self.names = _Names()
        self._shared = shared or Shared()
        self._shared.has_grown = True
        self._is_shared = False
        self._absent: set[bytes] = set()

    @property
    def indexes(self) -> Mapping[bytes, int]:
        return self.names.indexes

    def doubt(self) -> None:
        """Redis has another one: ask it before anything is stored."""
        self.base, self.is_doubted = NOTHING, True
        self.names, self._is_shared, self._absent = _Names(), False, set()

    def must_ask(self, rows: Sequence[HotRow]) -> bool:
        """Whether Redis must say the indexes of all names of these rows before they can be coded."""
        if not self.is_doubted and len(self.indexes) == self.base.length:
            return False
        new = [row for row in rows if row.kind != DELETED and row.identity not in self.names.coded]
        return not names_of(new) <= self.indexes.keys()

    def learn(self, base: Base, names: Iterable[bytes], indexes: Iterable[bytes]) -> None:
        """Take Redis' word: ``indexes`` are those of ``names``, empty for a name that it lacks.  Of another dictionary
        than the one that was known these are all that are known then."""
        if base != self.base:
            self.names, self._is_shared = _Names(), False
        self.base, self.is_doubted, self._absent = base, False, set()
        own = self._own()
        for name, index in zip(names, indexes, strict=True):
            if index:
                own[name] = int(index)
            else:
                self._absent.add(name)
        self._share()

    def code(self, rows: Sequence[HotRow]) -> Append:
        """The rows in words of the dictionary, which has their names afterwards."""
        base, names = self.base, list[bytes]()
        coded = [(row.field, row.value if row.kind == DELETED else self._value(row, names)) for row in rows]
        append = Append(base, names, coded)
        self.base = append.after
        if names:
            self._share()
        return append

    def _own(self) -> dict[bytes, int]:
        """The indexes, to be changed: of this window alone."""
        self._shared.has_grown = True
        if self._is_shared:
            self.names, self._is_shared = _Names(self.indexes), False
        return self.names.indexes

    def _share(self) -> None:
        """Have the names of another window with the same ones in its place, if all are known."""
        if len(self.indexes) == self.base.length and not self._is_shared:
            lines = b"\n".join(name for name, _ in sorted(self.indexes.items(), key=itemgetter(1)))
            self.names, self._is_shared = self._shared.of.setdefault(lines, self.names), True

    def _value(self, row: HotRow, added: list[bytes]) -> bytes:
        form = self.names.coded.get(row.identity) or self._code(row, added)
        values = row.values
        if form.order is not None:
            values = np.frombuffer(values, "<u8")[form.order].tobytes()
        return row.stamp + form.head + values

    def _code(self, row: HotRow, added: list[bytes]) -> _Coded:
        names = row.series.split(b"\n")
        try:
            indexes = [self.indexes[name] for name in names]
        except KeyError:
            self._add(names, added)
            indexes = [self.indexes[name] for name in names]
        order, ascending = None, sorted(indexes)
        if indexes != ascending:
            order = np.argsort(indexes).astype(np.int32)
        known = self.names.coded
        if len(known) >= CODED_LISTS_MAX:
            known.clear()
        known[row.identity] = form = _Coded(pack(ascending), order)
        return form

    def _add(self, names: Iterable[bytes], added: list[bytes]) -> None:
        length = self.base.length + len(added)
        knows_all = len(self.indexes) == length
        own = self._own()
        for name in names:
            if name not in own:
                if not knows_all and name not in self._absent:
                    raise InvariantError(f"BUG: {name!r} was not asked for")
                own[name] = length
                added.append(name)
                length += 1


class Dictionaries:
    """Those of the windows that were written to last, of about DICTIONARY_NAMES_MAX names together."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[SourceKey, Window], Dictionary] = OrderedDict()
        self._shared = Shared()

    def of(self, source: SourceKey, window: Window) -> Dictionary:
        """What is known of this dictionary; an empty one for a window that was not met before."""
        key = source, window
        dictionary = self._known.get(key)
        if dictionary is None:
            dictionary = self._known[key] = Dictionary(self._shared)
        self._known.move_to_end(key)
        return dictionary

    def names(self, source: SourceKey, window: Window) -> Collection[bytes]:
        """Those that are known of this one."""
        dictionary = self._known.get((source, window))
        return dictionary.indexes.keys() if dictionary else ()

    def trim(self) -> None:
        """Forget those that were not used for longest; names that several windows have count once."""
        if not self._shared.has_grown:
            return
        self._shared.has_grown = False
        windows = Counter(dictionary.names for dictionary in self._known.values())
        size = _OWN_SIZE * len(self._known) + sum(len(names.indexes) for names in windows)
        while size > DICTIONARY_NAMES_MAX:
            _, forgotten = self._known.popitem(last=False)
            size -= _OWN_SIZE
            windows[forgotten.names] -= 1
            if not windows[forgotten.names]:
                size -= len(forgotten.indexes)
