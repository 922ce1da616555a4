"""Probes links over UDP within a stated budget: one end asks, the other answers."""
