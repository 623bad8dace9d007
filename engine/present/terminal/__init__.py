"""Records printed as tables in a terminal."""
