"""What stands on one machine for the parts around the functions: a Redis cluster, AWS, Lambda's processes, an agent,
and for tests and benchmarks stores in memory and a plain computation of rollups.

`make run`, the tests and bench share them; none knows template.yaml.
"""
