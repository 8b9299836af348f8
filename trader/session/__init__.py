"""The composition root: where feeds, agents, pool, levels and store meet in one event loop."""
