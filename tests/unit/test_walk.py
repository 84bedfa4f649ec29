"""How far a reader goes who follows one source through ``Sealer.seal``, counted while real seals run.

A call counts if it is given the source: a ``SourceKey``, a tuple that has one, or the catalogue of that source.  Each
pair of caller and callee counts once, in the order of a reader who goes depth first.  A call into another module is a
move, and its return is another.  A nested function belongs to the one around it; methods of what has the source,
comprehensions and lambdas are no calls.  Names are those of parameters and locals of these functions, at their end,
that have a source, a window, samples, an item, or series.  The flat layout, counted in the same way, had 54 moves, 47
of them back into a module, and 32 names.
"""

import random
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from unittest.mock import patch

import carbyne
import pytest
from carbyne.core.items import Item
from carbyne.core.keys import SourceKey, Window
from carbyne.samples.columns import Columns, Group
from carbyne.seal.sealer import Sealer
from carbyne.store.catalogue import SourceCatalogue

from tests.support.rolling import Life

PACKAGE = Path(carbyne.__file__).parent
ROOT = ("seal/sealer.py", "Sealer.seal")
COMPREHENSIONS = {"<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>", "<lambda>"}
SERIES = {f"m{number}" for number in range(2)}
"""Of the source, see ``Life``."""
DEPTH_MAX = 3
MOVES_MAX, BACK_MAX, NAMES_MAX = 22, 18, 16


@cache
def place(code):
    """(module, function) of code of the package, None of other code."""
    path = Path(code.co_filename)
    return (str(path.relative_to(PACKAGE)), code.co_qualname.split(".<locals>")[0]) if PACKAGE in path.parents else None


def has_source(value):
    return isinstance(value, SourceKey | SourceCatalogue) or (
        isinstance(value, tuple) and any(isinstance(part, SourceKey | SourceCatalogue) for part in value)
    )


def has_part(value, depth=0):
    """Whether a value is or has what belongs to a source."""
    if isinstance(value, SourceKey | SourceCatalogue | Window | Columns | Group | Item):
        return True
    if isinstance(value, dict):
        return depth < DEPTH_MAX and any(has_part(part, depth + 1) for pair in value.items() for part in pair)
    if isinstance(value, tuple | list | set | frozenset):
        return depth < DEPTH_MAX and any(has_part(part, depth + 1) for part in value)
    return isinstance(value, str) and value.split("\x01")[0] in SERIES


class Walk:
    """``calls``: of each function, those that it gives the source to, in order; ``names``: of each function."""

    def __init__(self):
        self.calls, self.names = defaultdict(dict), defaultdict(set)
        self.walked = {ROOT}

    def note(self, frame, event, _):
        code, here = frame.f_code, place(frame.f_code)
        if here is None or event not in {"call", "return"} or code.co_name in COMPREHENSIONS:
            return
        values = frame.f_locals
        if event == "return":
            self.names[here] |= {name for name, value in values.items() if name != "self" and has_part(value)}
        elif "<locals>" not in code.co_qualname and not has_source(values.get("self")):
            given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if any(has_source(values[name]) for name in given):
                self.calls[self._caller(frame)][here] = None
                self.walked.add(here)

    def _caller(self, frame):
        while (frame := frame.f_back) and place(frame.f_code) not in self.walked:
            pass
        return place(frame.f_code) if frame else None

    def figures(self):
        """(moves, those back into a module, names, modules)"""
        modules, moves = [ROOT[0]], []
        done = set()

        def go(caller):
            for callee in self.calls[caller]:
                if (caller, callee) in done or caller == callee:
                    continue
                done.add((caller, callee))
                if callee[0] == caller[0]:
                    go(callee)
                else:
                    moves.append(callee[0] in modules)
                    modules.append(callee[0])
                    go(callee)
                    moves.append(True)

        go(ROOT)
        names = {name for function in self.walked for name in self.names[function]}
        return len(moves), sum(moves), names, set(modules)


@pytest.fixture(scope="module")
def walk():
    """The seals of one life of a source, which ends with all days closed."""
    walk, seal = Walk(), Sealer.seal

    def followed(self, *of, **how):
        before = sys.getprofile()
        sys.setprofile(walk.note)
        try:
            return seal(self, *of, **how)
        finally:
            sys.setprofile(before)

    dice = random.Random(0)
    with patch.object(Sealer, "seal", followed):
        Life(dice).live(dice.randint(4, 16))
    return walk


def test_a_reader_follows_a_source_through_a_seal_in_half_the_steps_of_the_flat_layout(walk):
    moves, back, names, modules = walk.figures()
    assert modules == {
        "seal/sealer.py",
        "seal/roller.py",
        "store/catalogue.py",
        "store/tree.py",
        "store/tiers.py",
        "adapters/dynamodb/table.py",
        "samples/schedule.py",
    }
    assert moves <= MOVES_MAX and back <= BACK_MAX, {place: list(calls) for place, calls in walk.calls.items()}
    assert len(names) <= NAMES_MAX, sorted(names)


def test_the_walk_is_of_the_whole_seal(walk):
    """Else the bounds would hold of a walk that lost its way."""
    steps = {function for _, function in walk.walked}
    assert {"Sealer._store", "rewrite", "Roller._close_days", "BlockTiers.read", "WarmBlocks.put"} <= steps
