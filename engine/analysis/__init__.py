"""From raw rounds to conclusions: pure functions over plain numbers."""
