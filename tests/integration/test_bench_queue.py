"""The benchmark of queues in small: every message comes once and in order, and costs are of the order of a list's."""

from bench.queue import EMPTY_TAKES_PER_MINUTE, JOBS_PER_MINUTE, run


def test_a_queue_costs_little_of_a_redis_core():
    costs = run(400, 50)
    jobs_us = costs["1 at a time"].cpu_us * JOBS_PER_MINUTE + costs["empty take"].cpu_us * EMPTY_TAKES_PER_MINUTE
    assert 0 < jobs_us < 0.02 * 60e6, "2 % of a core"
    assert costs["100 at a time"].cpu_us < costs["1 at a time"].cpu_us
