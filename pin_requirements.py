"""Write the exact pins of requirements*.txt: for each dependency in pyproject.toml, the version installed here.

Run it where the tests have passed: `python pin_requirements.py`.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent
HEADER = (
    "# Written by `python pin_requirements.py` from pyproject.toml: the versions that the tests ran with."
)


@dataclass(frozen=True)
class PinFile:
    """One requirements file.

    Attributes:
        purpose: what it is for, written as its second line.
        groups: the lists of pyproject.toml whose pins it holds.
        includes: the requirements files that it includes.
    """

    purpose: str
    groups: tuple[str, ...]
    includes: tuple[str, ...] = ()


FILES = {
    "requirements.txt": PinFile("The app, the engine and the command line.", ("core", "app")),
    "requirements-cluster.txt": PinFile(
        "Measuring through Dask: for the server, the scheduler and every worker.",
        ("cluster",),
        ("requirements.txt",),
    ),
    "requirements-postgres.txt": PinFile(
        "Finished runs in PostgreSQL instead of SQLite: for the server.",
        ("postgres",),
        ("requirements.txt",),
    ),
    "requirements-peers.txt": PinFile(
        "The paths through other libraries. Paths whose library is missing are shown as not installed.",
        ("peers",),
        ("requirements.txt",),
    ),
    "requirements-dev.txt": PinFile(
        "Everything, with tests, linters and type checks.",
        ("dev",),
        ("requirements-cluster.txt", "requirements-postgres.txt", "requirements-peers.txt"),
    ),
}


def declared() -> dict[str, list[Requirement]]:
    """The dependencies in pyproject.toml: each extra by its name, the engine's own as `core`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"core": project["dependencies"], **project["optional-dependencies"]}
    return {name: [Requirement(line) for line in lines] for name, lines in lists.items()}


def pinned(file: str, version_of: Callable[[str], str]) -> str:
    """The text of one requirements file.

    Args:
        version_of: gives the version of a package by its name.
    """
    wanted = FILES[file]
    lines = [HEADER, f"# {wanted.purpose}", *(f"-r {other}" for other in wanted.includes)]
    for requirement in (entry for group in wanted.groups for entry in declared()[group]):
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        # torch's builds for one device carry a local version such as 2.13.0+cpu, which no index but PyTorch's has.
        pin = Version(version_of(requirement.name)).public
        lines.append(f"{requirement.name}{extras}=={pin}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name in FILES:
        (ROOT / name).write_text(pinned(name, version), encoding="utf-8")
