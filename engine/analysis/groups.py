"""Which part of an encoder an operator belongs to; an operator without a group belongs to its caller's."""

import re
from typing import Literal, get_args

Group = Literal[
    "linear",
    "attention",
    "softmax and mask",
    "norm and activation",
    "dropout",
    "nested conversion",
    "whole encoder",
    "other",
]
GROUPS: tuple[Group, ...] = get_args(Group)

# `_transformer_encoder_layer_fwd` computes several parts, so it has no entry here; the operators that it calls have.
_PATTERNS: dict[Group, str] = {
    "linear": r"addmm|_addmm_activation|mm|linear|_linear_pointwise",
    "attention": r"attention|_?scaled_dot_product.*|_native_multi_head_attention|_transform_bias_rescale_qkv"
    r"|bmm|baddbmm|_flash_attention.*|_efficient_attention.*",
    "softmax and mask": r"_?softmax|_masked_softmax|_safe_softmax|masked_fill|eq|logical_not",
    "norm and activation": r"(native_)?layer_norm|add_and_norm|gelu|relu|tanh",
    "dropout": r"(native_)?dropout|bernoulli",
    "nested conversion": r"_nested.*|nested_.*|.*to_padded_tensor.*",
    # packed execution's call for all layers; the profiler cannot see inside it.
    "whole encoder": r"encoder",
}


def group_of(operator: str) -> Group | None:
    """The group of an operator by its name; None if its caller decides.

    Args:
        operator: the profiler's name for it, such as "aten::addmm"; an in-place variant has the same group.
    """
    stem = operator.rpartition("::")[2].removesuffix("_")
    return next((group for group, pattern in _PATTERNS.items() if re.fullmatch(pattern, stem)), None)
