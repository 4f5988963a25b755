"""Studies of a constellation over places and time: passes, coverage, latency, capacity, availability, routes. `docs/sky-command.md`."""
