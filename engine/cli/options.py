"""Options that several commands share, and the batch that `--batch`, `--text` and `--texts` make."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from engine.catalog.batches import PRESETS, find_preset
from engine.cli.files import read_bytes
from engine.errors import Refusal
from engine.records import Allocator, Batch, DType
from engine.settings import Settings
from engine.texts import checked_texts, decode_upload, split_lines

MODEL_HELP = "A name from `models`, a local folder, or owner/name on the hub."
BATCH_HELP = f"A preset, ignored if texts are given: {', '.join(PRESETS)}."
DEVICE_HELP = "cpu, cuda or cuda:N."
SEED_HELP = "Seed of the order of the rounds."
DTYPE_HELP = f"One of {', '.join(get_args(DType))}."

Model = Annotated[str, typer.Option(help=MODEL_HELP)]
Device = Annotated[str, typer.Option(help=DEVICE_HELP)]
Precision = Annotated[str, typer.Option(help=DTYPE_HELP)]
Threads = Annotated[int | None, typer.Option(help="Threads for torch; by default torch chooses.")]
Seed = Annotated[int, typer.Option(help=SEED_HELP)]
Text = Annotated[list[str] | None, typer.Option(help="A text of the batch; may be repeated.")]
TextsFile = Annotated[Path | None, typer.Option(help="A UTF-8 file with one text per line.")]
Memory = Annotated[
    str,
    typer.Option(
        "--allocator",
        help="Memory that a forward frees: kept (stays in the process), or system (the platform's allocator decides).",
    ),
]
ALLOCATORS: tuple[Allocator, ...] = get_args(Allocator)
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")]


def chosen_allocator(name: str) -> Allocator:
    """The allocator of this name.

    Raises:
        Refusal: there is none.
    """
    for allocator in ALLOCATORS:
        if allocator == name:
            return allocator
    raise Refusal(f"--allocator takes {' or '.join(ALLOCATORS)}, not {name!r}.")


def chosen_batch(preset: str, typed: list[str], file: Path | None, settings: Settings) -> Batch:
    """The given texts and those of the file; the preset if there are none.

    Raises:
        Refusal: no such preset or file, or texts that do not fit the settings.
    """
    if not typed and file is None:
        return find_preset(preset)
    lines = split_lines(decode_upload(read_bytes(file), str(file))) if file else ()
    return Batch(name="own texts", texts=checked_texts((*typed, *lines), settings))
