"""The precisions of the records as torch dtypes.

The only such table: packing is the lowest room with torch in it, and models, paths and measure read it from here.
"""

import torch

from engine.records import DType

TORCH_DTYPES: dict[DType, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
