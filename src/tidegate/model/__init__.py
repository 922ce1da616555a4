"""The nouns: frozen records and columnar frames. No I/O, no clock, no randomness."""
