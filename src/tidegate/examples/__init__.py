"""Applications to try things out with, and to learn from; they need Python and nothing else of Tidegate."""
