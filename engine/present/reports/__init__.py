"""Records as files to take away."""
