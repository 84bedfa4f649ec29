"""A Redis cluster as its operator sees it: what it looks like, how it fares, and what is to be changed."""
