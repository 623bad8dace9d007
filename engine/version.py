"""The version of the package, apart from `engine` itself, which names rooms with torch."""

__version__ = "0.1.0"
