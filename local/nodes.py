"""Redis nodes that died are started again, as ElastiCache replaces its own."""

import time

from local.sources import Source
from servers.valkey import Cluster, Node

LOOK_S = 1.0
AWAY_S = 6.0
"""Three node timeouts: sooner, an empty master would come back before its replica is promoted, and be copied to it."""


class Nodes(Source):
    """Looks at each node of a cluster and restarts those that are gone for AWAY_S."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__("Redis", LOOK_S)
        self.cluster, self.gone_s = cluster, dict[Node, float]()

    def work(self) -> None:
        now_s = time.monotonic()
        for node in self.cluster.nodes:
            if node.alive:
                self.gone_s.pop(node, None)
            elif node not in self.gone_s:
                self.gone_s[node] = now_s
                print(
                    f"[{self.name}] the node at port {node.port} has died; it starts again in {AWAY_S:g} s", flush=True
                )
            elif now_s - self.gone_s[node] >= AWAY_S:
                self._restart(node)

    def _restart(self, node: Node) -> None:
        try:
            node.restart()
        except RuntimeError as error:
            self.gone_s[node] = time.monotonic()
            print(f"[{self.name}] {error}", flush=True)
        else:
            print(f"[{self.name}] the node at port {node.port} runs again", flush=True)
