"""The long form of the jobs of tests/integration/test_queue_stores.py."""

import secrets

import pytest
from carbyne.adapters.redis.queue import RedisQueues
from carbyne.core.keys import QueueKey
from carbyne.core.settings import RedisSettings
from carbyne.wiring.redis import nodes

from tests.support.queue_jobs import Jobs, lose
from tests.support.queue_stores import MemoryQueueTable


@pytest.mark.nightly
def test_ten_thousand_jobs_through_killed_workers_a_killed_master_and_a_flushed_redis(cluster):
    queue, redis = QueueKey("a", f"q-{secrets.token_hex(4)}"), nodes(RedisSettings(cluster.endpoint, redis_tls=False))
    jobs = Jobs(queue, RedisQueues(redis), MemoryQueueTable(), 10_000)
    try:
        jobs.run(lambda: lose(cluster, redis, queue), workers=8, limit_s=300)
        assert jobs.left() == (0, 0, 0, 0)
    finally:
        redis.close()
    print(f"{len(jobs.runs)} jobs, {len(jobs.died)} died, {len(jobs.twice())} run twice")
    assert (jobs.lost(), jobs.losses) == (set(), 2)
    assert jobs.twice() <= jobs.died and len(jobs.died) > 50
