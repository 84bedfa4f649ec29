"""Hosts, services, roles and what hangs on them: the calls of Mackerel's API that have nothing to do with samples."""
