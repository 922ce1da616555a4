"""How good forecasts are here and what they bring: `measure` runs the parts, a module each."""
