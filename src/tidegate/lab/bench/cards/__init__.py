"""Real cards on this very machine, for benchmarks and tests: namespaces, programs, applications, load."""
