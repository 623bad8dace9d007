"""Records put into sentences."""
