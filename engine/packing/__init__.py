"""Padding-free execution of an encoder: only real tokens are computed, on weights laid out once for the device.

`pack` turns a torchtext RobertaModel or an `nn.TransformerEncoder` into a module with the same call. This room is a
library: it uses the lab's records and errors only, and importing it changes nothing in the process.
"""

from engine.packing.module import PackedEncoder, PackedRoberta, pack
from engine.packing.stack import PackedStack

__all__ = ["PackedEncoder", "PackedRoberta", "PackedStack", "pack"]
