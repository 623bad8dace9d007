"""The precisions that a model can be in, as torch names them."""

import torch

from engine.records import DType

TORCH_DTYPES: dict[DType, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
