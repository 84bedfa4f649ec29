"""A Redis cluster as its operator sees it: topology, figures, plans; no I/O."""
