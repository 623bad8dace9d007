"""Exit codes of the command line beside a comparison's own (`engine.analysis.compare.Gate`)."""

REFUSED = 2
"""Bad input, or something that cannot be measured here."""
DEFECT = 70
"""A defect of ours (EX_SOFTWARE of sysexits.h): Python's own code, 1, would read as "regressed"."""
