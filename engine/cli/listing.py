"""Commands that list the choices: models, execution paths, and modifications for the doctor."""

from rich.console import Console

from engine.catalog.models import CATALOG
from engine.catalog.modifications import MODIFICATIONS
from engine.catalog.paths import PATHS
from engine.present.terminal import runs as terminal
from engine.present.terminal.doctor import modifications_table


def models() -> None:
    """List the models on offer."""
    Console().print(terminal.models_table(CATALOG.values()))


def paths() -> None:
    """List the execution paths that `run --paths` can measure."""
    Console(width=terminal.width()).print(terminal.paths_on_offer_table(PATHS.values()))


def modifications() -> None:
    """List the modifications that `doctor --with` can make to a model before it is examined."""
    Console(width=terminal.width()).print(modifications_table(MODIFICATIONS.values()))
