"""Algebra of samples, no I/O: columns, blocks, rows, rollups, deletes, schedules."""
