"""Names of the operators that prove how a path ran, as torch's profiler writes them; plain data, free of torch.

The paths count them, and the sentences about a profile name them.
"""

FUSED_LAYER = "aten::_transformer_encoder_layer_fwd"
NESTED_CONVERSION = "aten::_nested_tensor_from_mask"
SDPA = "aten::scaled_dot_product_attention"
LINEAR = "aten::linear"
DROPOUT_DRAW = "aten::bernoulli_"

# engine/packing is a library and names its operators itself; a test compares the two.
PACKED_LINEAR = "mkldnn::_linear_pointwise"
PACKED_ATTENTION = "packed::attention"
PACKED_ENCODER = "packed::encoder"


def short_name(operator: str) -> str:
    """An operator's name without the namespace aten, which nearly all of them share."""
    return operator.removeprefix("aten::")
