"""What a card, its servers and its fleet manager are worth: real programs on this very machine."""
