"""Path models: what is coming at every step ahead, from whole histories, off the hot path."""
