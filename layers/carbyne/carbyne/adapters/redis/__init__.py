"""The hot tier in Redis Cluster, by the scripts of lua/."""
