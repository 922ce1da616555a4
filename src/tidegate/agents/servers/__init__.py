"""A card's servers, and its own applications, as one fleet: what a device's fast loop sees and orders."""
