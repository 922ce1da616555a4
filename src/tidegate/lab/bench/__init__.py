"""Benchmarks: each prints what it measured beside a limit or a peer, and asserts nothing."""
