"""Measures execution paths: checks, warm-up, paired rounds, profiles, and the peaks of the machine."""
