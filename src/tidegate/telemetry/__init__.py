"""Makes of what was probed and counted what links are: pure estimators with bounded windows."""
