"""Stage 4: what should be true. Policies want, guards shrink, the difference is what must be done."""
