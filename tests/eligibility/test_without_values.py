"""The doctor refuses what has no values: on the device meta, operators that write into memory would end the process."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.eligibility.subject import admit
from engine.errors import Refusal
from engine.models.own_model import load_own_model


def model() -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 1).eval()


def test_a_model_or_an_example_on_meta_is_refused() -> None:
    example = torch.zeros(1, 2, 16)
    admit(model(), example)
    for given, call in (
        (model().to("meta"), example),
        (model(), example.to("meta")),
        (model(), {"src": example, "src_key_padding_mask": torch.zeros(1, 2, device="meta")}),
    ):
        with pytest.raises(Refusal, match="no values"):
            admit(given, call)


def test_the_default_device_meta_is_refused() -> None:
    given, example = model(), torch.zeros(1, 2, 16)
    with torch.device("meta"), pytest.raises(Refusal, match="default device is meta"):
        admit(given, example)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (f"{'n' * 5000}.py:make", "There is no file"),
        (f"{'n' * 5000}:make", "There is no module"),
        ("own.py:cancelled", "raised CancelledError"),
        ("own.py:endless", "raised RecursionError"),
        ("own.py:anything", "raised OSError"),
    ],
)
def test_hostile_code_becomes_one_sentence(
    place: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own.py").write_text(
        "import asyncio\n"
        "def cancelled():\n    raise asyncio.CancelledError\n"
        "def endless():\n    return endless()\n"
        "def __getattr__(name):\n    raise OSError(name)\n"
    )
    with pytest.raises(Refusal, match=words):
        load_own_model(place, tmp_path)
