"""How transfers are carried: which source, how many at once, and what became of each."""
