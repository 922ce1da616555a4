"""Version 1 of it: `make proto` writes these modules."""
