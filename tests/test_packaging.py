"""The package: pins agree with pyproject.toml, and the engine imports only what its dependencies install."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from pkgutil import resolve_name

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import engine.cli
import engine.version
from pin_requirements import FILES, ROOT, declared, pinned

EXTRA_OF = {
    "engine/present/charts": "app",
    "engine/present/reports": "app",
    "engine/desk/cluster": "cluster",
}
"""Where the engine needs an extra: the start of the files' path, and the extra."""
BROUGHT_ALONG = {"pydantic_core"}
"""Modules that always come with a declared package, in the one version that it names."""


def pins(file: str) -> dict[str, str]:
    """Each pinned package of a file with its version."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]
    return {pin.name: str(pin.specifier).removeprefix("==") for pin in found}


@pytest.mark.parametrize("file", FILES)
def test_each_pin_satisfies_pyproject(file: str) -> None:
    wanted = {entry.name: entry.specifier for group in FILES[file].groups for entry in declared()[group]}
    outside = {
        name: version for name, version in pins(file).items() if not wanted[name].contains(version, True)
    }
    assert outside == {}


@pytest.mark.parametrize("file", FILES)
def test_the_file_is_what_the_script_writes_for_these_pins(file: str) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == pinned(file, pins(file).__getitem__)


def test_a_build_for_one_device_is_pinned_by_its_public_version() -> None:
    assert "\ntorch==2.13.0\n" in pinned("requirements.txt", lambda _name: "2.13.0+cpu")


def test_every_list_of_dependencies_is_pinned_once() -> None:
    assert sorted(group for file in FILES.values() for group in file.groups) == sorted(declared())


def imported(file: Path) -> Iterator[str]:
    """Top-level names of what a module imports, wherever in the module it does."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            yield node.module.partition(".")[0]


def test_the_engine_imports_only_what_is_declared() -> None:
    names = {group: {canonicalize_name(entry.name) for entry in found} for group, found in declared().items()}
    installed_by = packages_distributions()
    undeclared = set()
    for file in sorted((ROOT / "engine").rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        extra = next((group for start, group in EXTRA_OF.items() if path.startswith(start)), "core")
        for module in set(imported(file)) - sys.stdlib_module_names - BROUGHT_ALONG - {"engine"}:
            providers = {canonicalize_name(name) for name in installed_by.get(module, [module])}
            if not providers & (names["core"] | names[extra]):
                undeclared.add((path, module))
    assert undeclared == set()


def test_the_command_exists_and_the_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert resolve_name(project["project"]["scripts"]["fastpath"]) is engine.cli.main
    assert project["project"]["dynamic"] == ["version"]
    assert (ROOT / project["tool"]["hatch"]["version"]["path"]).samefile(engine.version.__file__)
    assert engine.__version__ == engine.version.__version__
