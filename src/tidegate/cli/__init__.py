"""The commands, one module each; prints what the stages say."""
