"""The laid-out classification head gives torchtext's own logits."""

from pathlib import Path

import pytest
import torch

from engine.models.encoder import RobertaClassificationHead
from engine.packing.build import default_folder
from engine.packing.head import PackedHead
from engine.packing.operators import operators_for
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType


@pytest.mark.parametrize("folder", [default_folder(), None], ids=["kernels", "operators"])
@pytest.mark.parametrize("texts", [3, 70])
@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-5), ("bf16", 2e-2)])
@torch.no_grad()
def test_it_gives_the_heads_own_logits(
    folder: Path | None, texts: int, dtype: DType, tolerance: float
) -> None:
    torch.manual_seed(0)
    head = RobertaClassificationHead(num_classes=2, input_dim=128).eval()
    features = torch.randn(texts, 128, generator=torch.Generator().manual_seed(1))
    expected = head(features[:, None])
    operators, _ = operators_for(torch.float32, torch.device("cpu"), 128, 4, folder)
    packed = PackedHead(head.to(TORCH_DTYPES[dtype]), dtype, operators)
    found = packed(features)
    assert found.dtype == TORCH_DTYPES[dtype]
    assert float((found - expected).abs().max()) <= tolerance
    assert packed.megabytes > 0
