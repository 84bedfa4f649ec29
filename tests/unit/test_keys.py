"""Keys: no two identities share one, and what is fixed for ever stays."""

from collections import Counter

import pytest
from carbyne.core import keys
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import LANES
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import part_texts, series_keys

windows = st.builds(Window, st.integers(-(10**6), 10**10), st.integers(1, 10**7))
sources = st.builds(SourceKey, part_texts, part_texts)
separators = st.text(":/+{}%#\0l0", max_size=5)
tricky_sources = st.builds(SourceKey, separators, separators)


def keys_of(source: SourceKey, window: Window) -> list[str]:
    return [source.windows, source.rows(window), source.lists(window), source.dictionary(window)]


@given(
    sources | tricky_sources,
    sources | tricky_sources,
    windows,
)
def test_two_sources_never_share_a_key(first: SourceKey, second: SourceKey, window: Window) -> None:
    shared = set(keys_of(first, window)) & set(keys_of(second, window))
    assert (
        (first == second)
        == bool(shared)
        == (first.path == second.path)
        == (first.member(window) == second.member(window))
    )


@given(sources, windows, windows)
def test_all_keys_of_a_source_differ_and_share_its_hash_tag(source: SourceKey, first: Window, second: Window) -> None:
    together = keys_of(source, first) + keys_of(source, second)[1:]
    assert len(set(together)) == (4 if first == second else 7)
    for key in together:
        assert key[key.index("{") + 1 : key.index("}")] == keys.lane_tag(source.lane)
        assert key.count("{") == key.count("}") == 1


@given(windows)
def test_a_window_comes_back_from_its_token(window: Window) -> None:
    assert Window.parse(window.token) == window


@given(st.integers(-(10**12), 10**13), st.integers(1, 10**7))
def test_a_window_holds_its_sample_and_is_aligned(ts_ms: int, length_s: int) -> None:
    window = Window.holding(ts_ms, length_s)
    assert window.start_s * 1000 <= ts_ms < window.end_s * 1000
    assert window.start_s % length_s == 0


def test_hosts_spread_over_all_lanes() -> None:
    lanes = Counter(keys.lane_of("acme", f"host/{number:06d}") for number in range(20 * LANES))
    assert set(lanes) == set(range(LANES))
    assert max(lanes.values()) <= 3 * 20


@pytest.mark.parametrize(("tenant", "source", "lane"), [("acme", "host/2eQGDXqtoXs", 327), ("", "", 909)])
def test_lanes_are_fixed_for_ever(tenant: str, source: str, lane: int) -> None:
    assert keys.lane_of(tenant, source) == lane


def test_hashes_of_series_are_fixed_for_ever() -> None:
    assert f"{keys.series_hash('loadavg5'):016x}" == "248f7218c0f23876"
    assert keys.list_identity(keys.join_series(["loadavg1", "loadavg5"])).hex() == "c553e5c4869eba7a"


def test_hashes_of_parts_are_fixed_for_ever() -> None:
    assert keys.part_hash("loadavg5") == keys.part_hash("loadavg5\x01s") == keys.series_hash("loadavg5")
    assert f"{keys.part_hash('node_load{cpu=0}'):016x}" == "b7fdc3f13ae506b1"


def test_series_of_one_metric_share_a_part_and_its_labels_divide_that() -> None:
    hashes = {keys.part_hash(f"node_cpu{{cpu={cpu},mode={mode}}}") for cpu in range(100) for mode in "abc"}
    assert {value >> 64 - keys.PART_NAME_BITS for value in hashes} == {keys.part_hash("node_cpu") >> 48}
    assert len({value >> 32 for value in hashes}) > 250


@pytest.mark.parametrize("name", ["cpu{}.user.delta", "metric_{}{{cpu=0}}"])
def test_series_spread_over_parts(name: str) -> None:
    ones = sum(keys.part_hash(name.format(number)) >> 63 for number in range(10_000))
    assert 4_800 < ones < 5_200


@given(st.lists(series_keys, min_size=1, unique=True))
def test_a_series_list_comes_back(series: list[str]) -> None:
    assert keys.split_series(keys.join_series(series)) == series


@given(part_texts, part_texts)
def test_items_of_the_accounts_table_do_not_meet(first: str, second: str) -> None:
    assert (keys.api_key_item(first) == keys.api_key_item(second)) == (first == second)
    assert keys.api_key_item(first) != keys.tenant_item(second)


def test_an_api_key_is_stored_as_its_hash_alone() -> None:
    assert keys.api_key_item("secret") == "key#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
