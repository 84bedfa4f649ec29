"""The functions' use cases on one machine, around stores and streams that can be counted, replayed and failed.

Tests and bench share them; bench imports nothing from tests.
"""
