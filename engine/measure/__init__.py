"""Measures execution paths: checks, warm-up, paired rounds, profiles, and the machine's own peaks."""
