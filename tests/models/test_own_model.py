"""The user's own model for the doctor: valid results are used, everything else is refused with the place."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.errors import Refusal
from engine.models.own_model import load_own_model

HEALTHY = """from __future__ import annotations

import dataclasses

import torch
from torch import nn

@dataclasses.dataclass
class Sizes:
    width: int = 8

def make():
    layer = nn.TransformerEncoderLayer(Sizes().width, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 1), torch.zeros(2, 3, 8)

def with_arguments():
    return make()[0], (torch.zeros(2, 3, 8), None)

def with_names():
    from collections import UserDict
    return make()[0], UserDict(src=torch.zeros(2, 3, 8))

def of_unnamed():
    return make()[0], {0: torch.zeros(2, 3, 8)}

def of_a_list():
    return make()[0], [torch.zeros(2, 3, 8)]

def of_a_class():
    return nn.TransformerEncoder, torch.zeros(2, 3, 8)

def of_a_function():
    return make, torch.zeros(2, 3, 8)

def of_three():
    return *make(), None

def of_the_model_alone():
    return make()[0]

def of_nothing():
    pass

def with_a_need(size):
    return make()

def raising():
    nn.TransformerEncoderLayer(9, 2)

def leaving():
    raise SystemExit("usage: mine")

number = 3
"""


@pytest.fixture(autouse=True)
def _own_imports() -> Iterator[None]:
    """What one test imports, or where it looks, is gone for the next."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("own_", "my_")):
            del sys.modules[name]


def _write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def _refusal(place: str, folder: Path) -> str:
    with pytest.raises(Refusal) as caught:
        load_own_model(place, folder)
    return str(caught.value)


def test_a_file_is_run_and_its_model_and_example_are_taken(tmp_path: Path) -> None:
    _write(tmp_path, "my_model.py", HEALTHY)
    own = load_own_model("my_model.py:make", tmp_path)
    assert isinstance(own.model, torch.nn.TransformerEncoder)
    assert isinstance(own.example, torch.Tensor)
    assert own.model(own.example).shape == (2, 3, 8)


def test_arguments_may_be_a_tuple_or_any_mapping(tmp_path: Path) -> None:
    """A tokenizer's BatchEncoding is a mapping that is no dict."""
    _write(tmp_path, "my_model.py", HEALTHY)
    arguments = load_own_model("my_model.py:with_arguments", tmp_path).example
    assert isinstance(arguments, tuple)
    assert arguments[1] is None
    names = load_own_model("my_model.py:with_names", tmp_path).example
    assert type(names) is dict
    assert list(names) == ["src"]


def test_a_module_is_found_in_the_folder_and_so_is_what_a_file_imports(tmp_path: Path) -> None:
    _write(tmp_path, "my_package/__init__.py", "")
    _write(tmp_path, "my_package/my_models.py", HEALTHY)
    _write(tmp_path, "my_file.py", "from my_package.my_models import make as beside")
    _write(tmp_path, "elsewhere/my_neighbour.py", HEALTHY)
    _write(tmp_path, "elsewhere/my_other.py", "from my_neighbour import make")
    for place in ("my_package.my_models:make", "my_file.py:beside", "elsewhere/my_other.py:make"):
        assert isinstance(load_own_model(place, tmp_path).model, torch.nn.Module)


def test_a_file_named_like_a_library_shadows_nothing(tmp_path: Path) -> None:
    _write(
        tmp_path, "torch.py", HEALTHY.replace("import torch\n", "", 1).replace("torch.zeros", "nn.Parameter")
    )
    real = sys.modules["torch"]
    with pytest.raises(Refusal):
        load_own_model("torch.py:nothing_there", tmp_path)
    assert sys.modules["torch"] is real


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("of_unnamed", "an object of type dict as example"),
        ("of_a_list", "an object of type list as example"),
        ("of_a_class", "the class TransformerEncoder, not an instance"),
        ("of_a_function", "an object of type function as model"),
        ("of_three", "a tuple of 3"),
        ("of_the_model_alone", "an object of type TransformerEncoder"),
        ("of_nothing", "returned nothing"),
        ("number", "not a function but of type int"),
    ],
)
def test_a_result_that_is_not_a_model_and_an_example_is_refused(
    tmp_path: Path, name: str, words: str
) -> None:
    _write(tmp_path, "my_model.py", HEALTHY)
    told = _refusal(f"my_model.py:{name}", tmp_path)
    assert words in told
    assert "return (model, example)" in told


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("my_model.py", "takes FILE.py:make"),
        ("my_model.py:", "takes FILE.py:make"),
        (":make", "takes FILE.py:make"),
        ("my_missing.py:make", "There is no file my_missing.py"),
        ("my_missing:make", "There is no module 'my_missing'"),
        ("my_missing.deeper:make", "There is no module 'my_missing.deeper'"),
        ("my_model.py:nope", "There is no 'nope' in my_model.py"),
        ("my_model:nope", "There is no 'nope' in my_model"),
        (".my_model:make", "TypeError"),
    ],
)
def test_a_missing_file_module_or_function_is_named(tmp_path: Path, place: str, words: str) -> None:
    _write(tmp_path, "my_model.py", HEALTHY)
    assert words in _refusal(place, tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("raising", "nn.TransformerEncoderLayer(9, 2)", "embed_dim must be divisible by num_heads"),
        ("leaving", "raise SystemExit", "usage: mine"),
    ],
)
def test_an_exception_is_reported_with_the_users_line_and_not_the_librarys(
    tmp_path: Path, name: str, line: str, words: str
) -> None:
    _write(tmp_path, "my_model.py", HEALTHY)
    number = next(number for number, text in enumerate(HEALTHY.splitlines(), start=1) if line in text)
    told = _refusal(f"my_model.py:{name}", tmp_path)
    assert f"in my_model.py, line {number}: {words}." in told
    assert "\n" not in told


def test_a_function_with_arguments_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "my_model.py", HEALTHY)
    assert "missing 1 required positional argument: 'size'" in _refusal("my_model.py:with_a_need", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def make(:\n", "raised SyntaxError in my_broken.py, line 1: invalid syntax"),
        (
            "\nimport my_absent\n",
            "raised ModuleNotFoundError in my_broken.py, line 2: No module named 'my_absent'",
        ),
        ("raise ValueError('one\\ntwo')", "raised ValueError in my_broken.py, line 1: one. "),
        ("raise KeyError", "raised KeyError in my_broken.py, line 1: no message"),
    ],
)
def test_code_that_cannot_be_imported_is_reported_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    """As a file and as a module: a module that misses another one is not itself missing."""
    _write(tmp_path, "my_broken.py", text)
    for place in ("my_broken.py:make", "my_broken:make"):
        told = _refusal(place, tmp_path)
        assert words in told
        assert "Nothing was examined" in told
