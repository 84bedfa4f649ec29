"""The model's schedules on real stores: a Valkey cluster, and DynamoDB and S3 of the embedded AWS."""

import logging
import time
import uuid

import pytest
from carbyne.adapters.dynamodb.table import DynamoTable
from carbyne.adapters.redis.commands import Command
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.core.keys import Window, lane_state
from carbyne.core.settings import RedisSettings
from carbyne.wiring.redis import nodes

from harness.pipeline import flush, with_role
from tests.model.simulation import Simulation
from tests.support.stores import create_blocks_table


class RealStores:
    """Redis goes by its own clock, behind that of the simulation: what has expired by the latter is removed by hand."""

    def __init__(self, cluster, aws):
        self.cluster = cluster
        self.nodes = nodes(RedisSettings(cluster.endpoint, False))
        self.client = aws.client("dynamodb")
        self.name, bucket = create_blocks_table(self.client), f"archive-{uuid.uuid4().hex}"
        aws.client("s3").create_bucket(Bucket=bucket)
        self.table = DynamoTable(self.client, self.name)
        self.cold = ColdBlocks(aws.client("s3"), bucket)
        flush(cluster)

    def remove(self, partition, sort):
        self.client.delete_item(TableName=self.name, Key={"pk": {"S": partition}, "sk": {"S": sort}})

    def expire(self, source, before_ms):
        for window in self._windows(source):
            for key in (source.rows(window), source.lists(window), source.dictionary(window)):
                if 0 < self._ask(source.lane, "PEXPIRETIME", key) <= before_ms:
                    self._ask(source.lane, "DEL", key)

    def lose(self, lane):
        for node in with_role(self.cluster, "master"):
            with node.client as client:
                for key in client.scan_iter(f"{self._tag(lane)}:*", count=1000):
                    client.delete(key)

    def remember(self):
        pass

    def follow(self):
        pass

    def fail_over(self, lane, *, restarted=False):
        """See test_lost_tail: it takes a cluster of its own."""

    def keep(self, lane):
        kept = []
        for node in with_role(self.cluster, "master"):
            with node.client as client:
                keys = list(client.scan_iter(f"{self._tag(lane)}:*", count=1000))
                kept += [(node, key, client.dump(key), max(0, client.pttl(key))) for key in keys]
        return kept

    def go_back(self, lane, kept):
        self.lose(lane)
        for node, key, dump, ttl_ms in kept:
            with node.client as client:
                client.restore(key, ttl_ms, dump)

    def _tag(self, lane):
        return lane_state(lane).partition(":")[0]

    def close(self):
        self.nodes.close()

    def _windows(self, source):
        return [Window.parse(token.decode()) for token in self._ask(source.lane, "HKEYS", source.windows)]

    def _ask(self, lane, *command):
        [reply] = self.nodes.run([Command(lane, command)])
        return reply


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (3, 4))])
def test_no_schedule_breaks_an_invariant(cluster, aws, seed):
    stores = RealStores(cluster, aws)
    logging.disable(logging.CRITICAL)
    try:
        simulation = Simulation(seed, lambda now_ms: stores, int(time.time()))
        simulation.leases = False  # a lease ends by the clock of Redis, which stands still here
        simulation.run()
    finally:
        logging.disable(logging.NOTSET)
        stores.close()
