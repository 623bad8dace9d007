"""torchtext's RobertaModel with a 2-class head, as the tutorial builds it: empty, seeded, or from a checkpoint.

A model is built without memory first and then allocated once, in its final precision, so that there is never a
second copy of the weights.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import Refusal
from engine.models.torchtext.bridge import install
from engine.packing.precisions import TORCH_DTYPES
from engine.records import DType, EncoderShape

install()
from torchtext.models import (  # noqa: E402  (needs the bridge)
    RobertaClassificationHead,
    RobertaEncoderConf,
    RobertaModel,
)

__all__ = ["SEED", "RobertaModel", "draw_weights", "empty_model", "load_checkpoint", "size_in_bytes"]

NUM_CLASSES = 2
SEED = 0
# RoBERTa's own initializer_range.
WEIGHT_STD = 0.02
BLOCK_ROWS = 4096


def empty_model(shape: EncoderShape, dtype: DType) -> RobertaModel:
    """A RobertaModel on the CPU in eval mode, whose encoder's values are undefined and whose head's are seeded.

    torch's global random state is left as it was.
    """
    with torch.device("meta"):
        head = RobertaClassificationHead(num_classes=NUM_CLASSES, input_dim=shape.embedding_dim)
        model = RobertaModel(_conf(shape), head)
    model = model.to(TORCH_DTYPES[dtype]).to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = shape.layer_norm_eps
    draw_weights(model.head, SEED)
    return model.eval()


def draw_weights(module: nn.Module, seed: int) -> None:
    """Fill a module with seeded weights: matrices from a normal distribution, biases 0, norms 1, padding rows 0.

    Every precision gets the same draw, rounded; torch's global random state is left as it was.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                _draw(parameter, generator)
        for part in module.modules():
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                part.weight[part.padding_idx].zero_()


def load_checkpoint(model: RobertaModel, path: Path) -> None:
    """Copy torchtext's checkpoint, a state dict written by torch.save, into a model; its head is left alone.

    Names from before the encoder was built on nn.TransformerEncoder are understood, as by torchtext itself.
    Nothing in the file can run code. The model must not be used after a refusal.

    Raises:
        Refusal: the file is damaged or holds something else than tensors, or an encoder's tensor is missing or has
            another shape; it is named.
    """
    checkpoint = _read_checkpoint(path)
    encoder = {name: value for name, value in checkpoint.items() if not name.startswith("head.")}
    try:
        missing = model.load_state_dict(encoder, strict=False).missing_keys
    except RuntimeError as error:  # a tensor of another shape; torch's last line names it
        detail = str(error).splitlines()[-1].strip().rstrip(".")
        raise Refusal(f"{path} belongs to another model: {detail}.") from None
    absent = sorted(name for name in missing if name.startswith("encoder."))
    if absent:
        raise Refusal(f"{path} lacks {absent[0]}; it belongs to another model or is no encoder.")


def size_in_bytes(model: nn.Module) -> int:
    """Memory of all parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def _conf(shape: EncoderShape) -> Any:
    return RobertaEncoderConf(**shape.model_dump(exclude={"layer_norm_eps"}))


def _draw(parameter: Tensor, generator: torch.Generator) -> None:
    # Block by block in fp32: every precision gets the same values, and an embedding is not held twice.
    for rows in torch.split(parameter, BLOCK_ROWS):
        rows.copy_(torch.empty(rows.shape).normal_(0.0, WEIGHT_STD, generator=generator))


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    try:
        # A zip can be mapped, so its tensors take no memory of their own; files from before torch 1.6 are no zip.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        raise Refusal(
            f"{path} holds more than tensors, or is damaged, and was not loaded; delete it and get it again."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise Refusal(f"{path} is damaged or incomplete; delete it and get it again.") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise Refusal(f"{path} holds no state dict; delete it and get torchtext's own file.")
    return content
