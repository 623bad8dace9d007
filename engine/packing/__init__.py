"""Padding-free execution: the real tokens of a batch in one matrix, on weights laid out once for the device.

`pack` turns a torchtext RobertaModel or an `nn.TransformerEncoder` into a module with the same call.
"""

from engine.packing.module import PackedEncoder, PackedRoberta, pack
from engine.packing.stack import PackedStack

__all__ = ["PackedEncoder", "PackedRoberta", "PackedStack", "pack"]
