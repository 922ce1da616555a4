"""Replay, league, reports, benchmarks: may use every stage, used by none."""
