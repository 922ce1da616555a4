"""Stage 2: what is coming and how sure we are."""
