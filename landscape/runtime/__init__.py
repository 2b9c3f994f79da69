"""How a computation reports, saves, stops and shares its work."""
