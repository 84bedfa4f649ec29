"""Which replicas have what a master took, so that a write counts only when those that must have it do."""

import logging
from collections.abc import Callable
from typing import Any

from redis import exceptions
from redis.cluster import ClusterNode

from carbyne.adapters.redis.commands import Command, Reply, as_lost
from carbyne.adapters.redis.replication import WHO, RequiredReplicas, acks, lacking_of
from carbyne.core.errors import RetryableError
from carbyne.core.limits import WAIT_MS

_log = logging.getLogger(__name__)


class Acknowledgements:
    """``client``: a RedisCluster.  ``alone``: called with the number of write calls that a master took which has no
    replica to wait for.  ``followers``: the replicas that must have a write, of masters that are noted; of another
    master, and of all without it, any replica must.
    """

    def __init__(self, client: Any, alone: Callable[[int], None], followers: RequiredReplicas | None) -> None:  # noqa: ANN401
        self._client = client
        self._alone = alone
        self._followers = followers
        self._waited: dict[str, int] = {}
        self._without_replica: set[str] = set()

    def behind(self, node: ClusterNode) -> list[tuple[Any, ...]]:
        """What is asked behind calls, to know who has them."""
        count = self._waited[node.name] if node.name in self._waited else int(not self._is_alone(node))
        wait: list[tuple[Any, ...]] = [("WAIT", count, WAIT_MS)] if count else []
        return [WHO, *wait, WHO] if self._followers else wait

    def counted(self, node: ClusterNode, last: Command, replies: list[Reply], told: list[Reply]) -> list[Reply]:
        """The replies of calls, of which ``last`` is the last, or errors where too few replicas have them.  ``told``:
        the replies to ``behind``."""
        if self._followers:
            return self._by_offset(self._followers, node, last, replies, told)
        return self._by_wait(node, replies, told[0] if told else None)

    def _by_offset(
        self, followers: RequiredReplicas, node: ClusterNode, last: Command, replies: list[Reply], told: list[Reply]
    ) -> list[Reply]:
        """The replies, if the replicas that must have the calls do, or are struck out of the note now; else errors.

        A master's offset, asked behind the calls, is compared with what each replica has got after WAIT.  WAIT counts
        those that are not noted as well; so if one lacks the calls, the ``last`` call is sent once more, with a WAIT
        for as many as must have it.
        """
        acknowledged = told[1] if len(told) == 3 else None
        try:
            before, after = acks(told[0]), acks(told[-1])
            required = followers.required(before.master)
            if required is None:
                self._waited.pop(node.name, None)
                return self._by_wait(node, replies, acknowledged)
            waited = self._waited.get(node.name, int(acknowledged is not None))
            self._waited[node.name] = len(required)
            lacking = lacking_of(required, before, after)
            if lacking and (waited < len(required) or (isinstance(acknowledged, int) and acknowledged >= waited)):
                again = self._client.get_redis_connection(node).pipeline(transaction=False)
                for command in (last.words, ("WAIT", len(required), WAIT_MS), WHO):
                    again.execute_command(*command)
                lacking = lacking_of(required, before, acks(again.execute(raise_on_error=False)[-1]))
            if lacking:
                _log.error("replicas of %s lack writes and count for no failover: %s", node.name, sorted(lacking))
                followers.leave(before.master, lacking)
        except (RetryableError, exceptions.RedisError, OSError) as error:
            lost = error if isinstance(error, RetryableError) else as_lost(error)
            return [reply if isinstance(reply, Exception) else lost for reply in replies]
        if len(lacking) == len(required):
            self._alone(len(replies))
        return replies

    def _is_alone(self, node: ClusterNode) -> bool:
        """Whether a node that had no replica the last time still has none: then a WAIT would end only at its limit."""
        if node.name in self._without_replica and self._has_replica(node):
            self._without_replica.discard(node.name)
        return node.name in self._without_replica

    def _by_wait(self, node: ClusterNode, replies: list[Reply], acknowledged: Reply) -> list[Reply]:
        """The replies, or errors where no replica has what the node took; None if it was known to have none."""
        if acknowledged is None:
            self._alone(len(replies))
            return replies
        if isinstance(acknowledged, int) and acknowledged >= 1:
            return replies
        if isinstance(acknowledged, Exception) or self._has_replica(node):
            error = RetryableError(f"no replica of {node.name} acknowledged within {WAIT_MS} ms: {acknowledged}")
            return [reply if isinstance(reply, Exception) else error for reply in replies]
        self._without_replica.add(node.name)
        self._alone(len(replies))
        return replies

    def _has_replica(self, node: ClusterNode) -> bool:
        """Whether the node itself knows a replica of its own that the cluster has not given up."""
        connection = self._client.get_redis_connection(node)
        try:
            table = connection.execute_command("CLUSTER NODES")
        except (exceptions.RedisError, OSError):
            return True
        mine = next(entry["node_id"] for entry in table.values() if "myself" in entry["flags"])
        return any(entry["master_id"] == mine and "fail" not in entry["flags"].split(",") for entry in table.values())
