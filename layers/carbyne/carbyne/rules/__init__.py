"""Prometheus' rules: their files, templates and evaluation, group by group; no I/O."""
