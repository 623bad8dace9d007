"""Fastpath Lab's engine: `from engine import pack, doctor`, and everything under the app and the command line.

Importing this package imports neither torch nor Streamlit; torch is imported when `pack` or `doctor` is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.doctor import doctor as doctor
    from engine.packing import pack as pack

from engine.version import __version__ as __version__


def __getattr__(name: str) -> Any:
    """`pack` and `doctor`, imported on first use so that `import engine` does not import torch."""
    if name == "doctor":
        # The package of this name can be called. The import puts it here, whoever imports it first.
        return import_module("engine.doctor")
    if name == "pack":
        from engine.packing import pack

        return pack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
