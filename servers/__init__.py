"""What stands on one machine for the parts around the functions: a Redis cluster, AWS, Lambda's processes, an agent.

`make run`, the tests and bench share them; none knows template.yaml.
"""
