"""torchtext 0.18 on any torch: its Python half as it is, its compiled half replaced."""
