"""Fastpath Lab's engine: records, measuring, the desk and their pictures.

Importing this package, or any part of it but `engine.measure`, imports neither torch nor Streamlit.
"""

__version__ = "0.1.0"
