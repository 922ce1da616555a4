"""What runs inside guests: each is one file that needs nothing else, to be copied there."""
