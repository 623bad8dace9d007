"""What there is to choose from: models, and circumstances for the doctor."""

from rich.console import Console

from engine.catalog import CATALOG
from engine.circumstances import CIRCUMSTANCES
from engine.present import terminal
from engine.present.doctor_terminal import circumstances_table


def models() -> None:
    """List the models on offer."""
    Console().print(terminal.models_table(CATALOG.values()))


def circumstances() -> None:
    """List what `doctor --with` can do to a model before the doctor looks at it."""
    Console(width=terminal.width()).print(circumstances_table(CIRCUMSTANCES.values()))
