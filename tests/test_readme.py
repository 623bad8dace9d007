"""The README's Python examples run unchanged, each in a new interpreter."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(encoding="utf-8"), re.S)


def run(example: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example: str) -> None:
    run(example)


def test_the_packed_example_differs_by_rounding_only() -> None:
    (packed,) = (example for example in EXAMPLES if "import pack" in example)
    difference = re.search(r"tensor\((\S+?)\)", run(packed))
    assert difference is not None
    assert float(difference[1]) < 1e-5
