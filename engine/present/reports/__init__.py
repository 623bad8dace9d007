"""Records as files to download."""
