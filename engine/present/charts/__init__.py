"""Records drawn as Altair charts."""
