"""Stage 3: 0-100 per server, with reasons."""
