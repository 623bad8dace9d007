"""Fastpath Lab's engine: records, measuring, the desk and their pictures.

Importing this package, or any part of it but `engine.measure`, imports neither torch nor Streamlit.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.measure.doctor import doctor as doctor

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`engine.doctor(model, example)` without importing torch until it is called for."""
    if name == "doctor":
        from engine.measure.doctor import doctor

        return doctor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
