"""Stage 6: get better."""
