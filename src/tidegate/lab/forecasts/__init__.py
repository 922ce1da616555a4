"""Path models side by side on a trace: rolling origins, measures, and the runs that fill them."""
