"""The world we can rewind: physics, traces, scenarios. Only `drivers.simulated` and `lab` look in."""
