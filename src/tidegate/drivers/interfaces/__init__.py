"""Counters and speeds of this machine's network interfaces, also inside network namespaces."""
