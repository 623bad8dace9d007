"""A run inside a link: what is taken along, how it is written into an address, and how it is read again."""
