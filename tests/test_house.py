"""The house's rules, checked: style, types, one-way arrows, no torch and no Streamlit where they do not belong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",), ("lint-imports", "--no-cache")],
    ids=" ".join,
)
def test_style_types_and_arrows(command: tuple[str, ...]) -> None:
    done = _run(str(SCRIPTS / command[0]), *command[1:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_torch_wing_imports_torch_and_nothing_imports_streamlit() -> None:
    parts = (
        "records",
        "catalog.models",
        "catalog.batches",
        "texts",
        "events",
        "desk.desk",
        "present.charts.runs",
        "cli",
    )
    light = ", ".join(f"engine.{part}" for part in parts)
    code = f"import sys, {light}; print({{'torch', 'streamlit', 'torchtext'}} & set(sys.modules))"
    assert _run(sys.executable, "-c", code).stdout.strip() == "set()"


def test_the_engine_needs_neither_streamlit_nor_altair_to_measure() -> None:
    code = (
        "import sys;"
        "absent = ('streamlit', 'altair', 'pandas', 'pyarrow', 'vl_convert', 'dask');"
        "sys.modules.update(dict.fromkeys(absent));"
        "import engine.cli, engine.measure.experiment, engine.child.process"
    )
    done = _run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
