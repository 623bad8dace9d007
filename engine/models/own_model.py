"""The user's own model for the doctor: runs the code that the user names and checks what it returns.

Only the command line uses this: there the code runs on the user's own machine.
"""

import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any, TypeVar

from torch import Tensor, nn

from engine.errors import Refusal, message_line

Returned = TypeVar("Returned")
Example = Tensor | tuple[Any, ...] | dict[str, Any]
"""What the model is called with: one tensor, all its arguments, or its arguments by name."""

_WANTED = (
    "return (model, example), where model is an nn.Module and example is what it is called with: a tensor, a tuple of "
    "arguments, or a dict of arguments by name"
)
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


@dataclass(frozen=True)
class OwnModel:
    """A model and its example input, as the user's code returned them."""

    model: nn.Module
    example: Example


def load_own_model(place: str, folder: Path) -> OwnModel:
    """Run `FILE.py:make` or `package.module:make`, and check what `make()` returns.

    Args:
        place: a file, or a module by the name it is imported by, and a function without arguments in it.
        folder: where relative files start, and where modules are looked for first.

    Raises:
        Refusal: no such file, module or function; the code raised; or what it returned is not a model and an example.
    """
    source, _, name = place.rpartition(":")
    if not source or not name:
        raise Refusal(f"--python takes FILE.py:make or package.module:make; {place!r} is not that.")
    _search_first(folder)
    module = _module_in_file(source, folder) if source.endswith(".py") else _module_named(source, folder)
    make = _run(lambda: getattr(module, name, None), source, folder)
    if make is None:
        raise Refusal(
            f"There is no {name!r} in {source}: name a function there that returns (model, example)."
        )
    if not callable(make):
        raise Refusal(
            f"{place} is not a function but of type {type(make).__name__}: let a function {_WANTED}."
        )
    return _checked(_run(make, place, folder), place)


def _search_first(folder: Path) -> None:
    if (text := str(folder.resolve())) not in sys.path:
        sys.path.insert(0, text)


def _module_in_file(source: str, folder: Path) -> ModuleType:
    file = folder / source
    if not _is_file(file):
        raise Refusal(f"There is no file {source}, seen from {folder}: start there, or give its full path.")
    _search_first(file.parent)
    return _run(lambda: _executed(file), source, folder)


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name longer than the file system allows
        return False


def _executed(file: Path) -> ModuleType:
    # Under a prefixed name, so that a file called torch.py or engine.py shadows nothing; and in sys.modules before
    # its code runs, because dataclasses and pickle look their module up there.
    spec = importlib.util.spec_from_file_location(f"own_model_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _module_named(name: str, folder: Path) -> ModuleType:
    try:
        return _run(lambda: importlib.import_module(name), name, folder)
    except Refusal as refusal:
        missing = refusal.__cause__
        # An import inside the module may fail as well; that one misses another name.
        if isinstance(missing, ModuleNotFoundError) and f"{name}.".startswith(f"{missing.name}."):
            raise Refusal(
                f"There is no module {name!r}, seen from {folder}: start where it can be imported, or name a FILE.py."
            ) from None
        raise


def _run(code: Callable[[], Returned], name: str, folder: Path) -> Returned:
    """The result of the user's code; any exception but Ctrl-C becomes one sentence."""
    try:
        return code()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and CancelledError are no Exceptions
        place = _place(error, folder)
        raise Refusal(
            f"{name} raised {type(error).__name__}{place}: {_first_line(error)}. Nothing was examined: fix that first."
        ) from error


def _place(error: BaseException, folder: Path) -> str:
    """Where in the user's code it happened: the innermost line outside of libraries."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" in {_seen_from(folder, error.filename)}, line {error.lineno}"
    frames = [frame for frame in extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f" in {_seen_from(folder, frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


def _is_own(filename: str) -> bool:
    file = Path(filename)
    library = file.is_relative_to(_STANDARD_LIBRARY) or not _INSTALLED.isdisjoint(file.parts)
    return not library and filename != __file__ and not filename.startswith("<")


def _seen_from(folder: Path, filename: str) -> str:
    file = Path(filename).resolve()
    return str(file.relative_to(folder.resolve()) if file.is_relative_to(folder.resolve()) else file)


def _first_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    return message_line(error).rstrip(".")


def _checked(returned: object, place: str) -> OwnModel:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise Refusal(f"{place} returned {_kind(returned)}: {_WANTED}.")
    model, example = returned
    if isinstance(model, type):
        raise Refusal(f"{place} returned the class {model.__name__}, not an instance of it: {_WANTED}.")
    if not isinstance(model, nn.Module):
        raise Refusal(f"{place} returned {_kind(model)} as model: {_WANTED}.")
    if isinstance(example, Mapping) and all(isinstance(name, str) for name in example):
        return OwnModel(model, dict(example))  # a tokenizer's BatchEncoding is a mapping, but no dict
    if not isinstance(example, Tensor | tuple):
        raise Refusal(f"{place} returned {_kind(example)} as example: {_WANTED}.")
    return OwnModel(model, example)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"an object of type {type(value).__name__}"
