"""When windows fall due: never before they can be whole, and spread by source."""

from carbyne.core.keys import SourceKey, Window
from carbyne.samples.schedule import SealSchedule
from hypothesis import given
from hypothesis import strategies as st

SOURCE = SourceKey("acme", "host/a")
WINDOW = Window(1_699_992_000, 14_400)
END_MS = WINDOW.end_s * 1000


def test_without_jitter_a_window_is_due_a_grace_after_its_end():
    assert SealSchedule(120, 0).due_ms(SOURCE, WINDOW, arrival_ms=WINDOW.start_s * 1000) == END_MS + 120_000


def test_a_late_arrival_waits_for_half_of_its_window():
    """So that an agent's backlog, which comes in over two hours, is sealed a few times and not each minute."""
    schedule = SealSchedule(120, 0)
    quarter_ms = WINDOW.length_s * 1000 // 2
    assert schedule.due_ms(SOURCE, WINDOW, arrival_ms=END_MS + 10**9) == END_MS + 10**9 + quarter_ms
    assert schedule.due_ms(SOURCE, WINDOW, arrival_ms=END_MS + 120_000) == END_MS + 120_000
    assert schedule.due_ms(SOURCE, WINDOW, arrival_ms=END_MS + 120_001) == END_MS + 120_001 + quarter_ms


def test_the_jitter_belongs_to_the_source_and_spreads_over_its_span():
    schedule = SealSchedule(120, 1800)
    sources = [SourceKey("acme", f"host/h{i}") for i in range(1000)]
    delays_ms = [schedule.due_ms(source, WINDOW, 0) - END_MS - 120_000 for source in sources]
    assert delays_ms == [schedule.due_ms(source, WINDOW, 0) - END_MS - 120_000 for source in sources]
    assert 0 <= min(delays_ms) < 60_000 and 1_740_000 < max(delays_ms) < 1_800_000
    by_minute = [sum(minute * 60_000 <= delay < (minute + 1) * 60_000 for delay in delays_ms) for minute in range(30)]
    assert max(by_minute) < 100, "no minute has a tenth of all seals"


@given(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(8, 10**6), st.integers(0, 2 * 10**12))
def test_a_row_waits_no_longer_than_the_first_row_of_a_window(grace_s, jitter_s, length_s, arrival_ms):
    window = Window.holding(1_700_000_000_000, length_s)
    closed_ms, jitter_ms = (window.end_s + grace_s) * 1000, 1000 * min(jitter_s, length_s // 8)
    due_ms = SealSchedule(grace_s, jitter_s).due_ms(SOURCE, window, arrival_ms)
    assert max(closed_ms, arrival_ms) <= due_ms
    assert due_ms - max(arrival_ms, window.start_s * 1000) <= 1000 * (length_s + grace_s) + jitter_ms
