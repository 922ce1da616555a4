"""Tidegate: forecast what every virtual machine will need next and move it there before it runs short."""
