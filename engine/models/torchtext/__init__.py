"""torchtext 0.18 on any torch: its Python half is unchanged, its compiled half is replaced."""
