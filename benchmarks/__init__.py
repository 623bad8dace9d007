"""Scripts that print the figures behind the claims of this project; each is run by hand on a quiet machine."""
