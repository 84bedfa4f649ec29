"""The arithmetic of costs: what a door, a replica and a host more change, and what stays when there are no hosts."""

import pytest

from bench import cost

DAY = cost.HostDay(
    samples=144_000,
    posts=1440,
    record_bytes=900,
    post_cpu=0.0007,
    ingest_cpu=0.00008,
    seal_cpu=0.3,
    write_units=350,
    read_units=400,
    table_calls=300,
    puts=13,
    gets=13,
    table={"raw": 280_000, "5m": 200_000, "1h": 20_000, "1d": 1_000},
    objects={"raw": 280_000, "5m": 200_000, "1h": 20_000, "1d": 1_000},
    hot=10.4,
    metrics=16,
)
REFERENCE = cost.Plan(1000, 100, 60, "api", "standard")


def total(**changes):
    return sum(cost.monthly(REFERENCE._replace(**changes), DAY).values())


def test_a_url_saves_what_the_door_costs_and_nothing_else():
    standard = cost.monthly(REFERENCE, DAY)
    assert standard["door"] == pytest.approx(1000 * 1440 * cost.DAYS / 1e6)
    assert cost.monthly(REFERENCE._replace(door="url"), DAY) == standard | {"door": 0}


def test_without_a_replica_half_of_redis_is_saved():
    assert cost.monthly(REFERENCE, DAY)["redis"] == 2 * cost.monthly(REFERENCE._replace(profile="lean"), DAY)["redis"]


def test_at_rest_there_are_redis_a_shard_and_watches():
    at_rest = cost.monthly(REFERENCE._replace(hosts=0), DAY)
    assert at_rest["door"] == at_rest["s3"] == 0
    assert at_rest["lambda"] + at_rest["dynamodb"] < 2
    assert at_rest["redis"] + at_rest["kinesis"] > 40


def test_the_goals_are_met():
    """Whoever adds a service, an alarm or a call finds out here."""
    assert total(door="url") <= 110
    assert total(door="url", profile="lean") <= 75
    assert total(door="url", profile="small", hosts=10) <= 35


def test_more_hosts_need_more_nodes_and_shards():
    many = cost.monthly(REFERENCE._replace(hosts=50_000), DAY)
    assert many["redis"] > 10 * cost.monthly(REFERENCE, DAY)["redis"]
    assert cost.shards(REFERENCE._replace(hosts=50_000), DAY) == 2


def test_past_the_first_tier_each_costs_less():
    assert cost.tiered(15, [(10, 3.0), (100, 1.0)]) == 35
    assert cost.door(400e6) == 300 + 90


def test_others_cost_what_their_prices_say():
    others = cost.others(REFERENCE)
    assert others["cloudwatch"] == pytest.approx(3000 + 9000 + 1000 * 1440 * cost.DAYS / 1000 * 0.01)
    assert 250 < others["amp"] < 280
