"""Pieces of a body with many old windows: all of it is put once the last try is taken."""

import pytest
from carbyne.core.errors import OverLimitError
from carbyne.core.limits import TARGETS_PER_BODY_MAX
from carbyne.intake.facts import Facts
from carbyne.intake.labelled import Taking
from carbyne.intake.new_targets import TargetPieces
from carbyne.intake.pieces import Pieces
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.usage import Limits
from carbyne.tenants.windows import LengthStep

from harness.pipeline import MemoryAccounts

NOW_S = 1_700_000_000
ROWS = {("prom/a", 1000 * (NOW_S - 86_400 * 10 + 1_800 * n)): {b"m": b"8 bytes."} for n in range(96)}
"""Two days, each half hour."""


def tenants():
    accounts = MemoryAccounts({"key": "acme"})
    accounts.limits = Limits(old_windows_per_minute=3)
    return accounts


def put_all(store, lengths_s):
    """The rows that were put until the body is taken, by a writer of each length in turn; the number of tries."""
    put, accounts = {}, Accounts(store, lambda: 0.0)
    for number in range(100):
        now_ms = 1000 * (NOW_S + 60 * number)
        pieces = Pieces(accounts, lengths_s[min(number, len(lengths_s) - 1)])
        piece = pieces.next("acme", b"body", ROWS, now_ms)
        put |= piece.rows
        try:
            pieces.taken("acme", piece, now_ms)
        except OverLimitError:
            continue
        return put, number + 1
    raise AssertionError("never taken")


@pytest.mark.parametrize(
    "lengths_s", [[14_400], [3_600, 3_600, 3_600, 14_400], [14_400, 14_400, 3_600], [7_200, 14_400, 7_200, 14_400]]
)
def test_nothing_is_left_out_when_the_usual_length_changes_between_two_tries(lengths_s):
    assert put_all(tenants(), lengths_s)[0] == ROWS


def test_short_windows_of_labelled_sources_count_each():
    usual, short = tenants(), tenants()
    short.steps["acme"] = (LengthStep(0, True),)
    assert put_all(usual, [14_400]) == (ROWS, -(-13 // 3))
    assert put_all(short, [14_400]) == (ROWS, 48 // 3)


def test_a_body_is_taken_though_samples_of_it_become_too_old_at_each_try():
    """From the first half hour on one is past retention at each; so many hosts that there is one in each piece."""
    store = tenants()
    accounts, put, tries = Accounts(store, lambda: 0.0), set(), 0
    rows = {
        (f"host/{host}", 1000 * (NOW_S - 86_400 * 10 + 60 * n + 14_400 * host)): {b"m": b"8 bytes."}
        for host in range(9)
        for n in range(9)
    }
    for tries in range(1, 99):
        now_ms = 1000 * (NOW_S + 60 * tries)
        storable = {row: values for row, values in rows.items() if row[1] > now_ms - 86_400_000 * 10}
        pieces = Pieces(accounts, 3_600)
        piece = pieces.next("acme", b"body", storable, now_ms)
        put |= piece.rows.keys()
        try:
            pieces.taken("acme", piece, now_ms)
        except OverLimitError:
            continue
        break
    assert storable.keys() <= put and tries <= 6


def test_two_services_that_are_sent_the_same_body_are_two_bodies():
    accounts = Accounts(tenants(), lambda: 0.0)
    pieces, digests = Pieces(accounts, 3_600), set()
    for service in ("service/a", "service/b"):
        rows = {(service, ts_ms): values for (_, ts_ms), values in ROWS.items()}
        digests.add(pieces.next("acme", b"body", rows, 1000 * NOW_S + (service == "service/b") * 60_000).digest)
    assert len(digests) == 2


@pytest.mark.parametrize("changes", ["too old", "not too far ahead any more"])
def test_nothing_is_left_out_when_other_samples_can_be_stored_at_the_next_try(changes):
    store = tenants()
    accounts, put = Accounts(store, lambda: 0.0), {}
    rows = {(f"host/{n}", 1000 * (NOW_S - 86_400 * 10)): {b"m": b"8 bytes."} for n in range(9)}
    edge = ("host/0", 1000 * (NOW_S - 86_400 * 11)) if changes == "too old" else ("host/0", 1000 * (NOW_S + 630))
    with_edge = {edge: {b"m": b"8 bytes."}, **rows}
    for number in range(10):
        now_ms = 1000 * (NOW_S + 60 * number)
        storable = with_edge if (number == 0) == (changes == "too old") else rows
        pieces = Pieces(accounts, 14_400)
        piece = pieces.next("acme", b"body", storable, now_ms)
        put |= piece.rows
        try:
            pieces.taken("acme", piece, now_ms)
        except OverLimitError:
            continue
        break
    assert storable.keys() <= put.keys()


def test_targets_of_a_body_are_all_taken_when_one_of_them_drops_out_between_two_tries():
    accounts = Accounts(tenants(), lambda: 0.0)
    targets = {f"prom/{n:05d}": "{}" for n in range(2 * TARGETS_PER_BODY_MAX + 2)}
    put = set()
    for number in range(10):
        taking = Taking(range(2**43), lambda _: "")
        taking.targets = dict(list(targets.items())[number > 0 :])
        taking.rows = {(source, 1000 * NOW_S): {"m": 0} for source in taking.targets}
        pieces = TargetPieces(accounts, Facts(lambda: 0.0))  # of another writer each time
        piece = pieces.next("acme", b"body", taking, NOW_S + 60 * number)
        put |= piece.targets.keys()
        assert piece.rows.keys() == {(source, 1000 * NOW_S) for source in piece.targets}
        try:
            pieces.taken("acme", piece, NOW_S + 60 * number)
        except OverLimitError:
            continue
        break
    assert taking.targets.keys() <= put and number < 9
