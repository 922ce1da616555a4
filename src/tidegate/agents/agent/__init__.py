"""A server's agent: tells a card how its workloads are, does as it is ordered, and falls back alone."""
