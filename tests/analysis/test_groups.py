"""Operators and their groups: those that take most of an encoder's time are in the right group."""

import pytest

from engine.analysis.groups import group_of


@pytest.mark.parametrize(
    ("operator", "group"),
    [
        ("aten::addmm", "linear"),
        ("aten::_addmm_activation", "linear"),
        ("aten::mm", "linear"),
        ("aten::bmm", "attention"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_native_multi_head_attention", "attention"),
        ("aten::_softmax", "softmax and mask"),
        ("aten::_masked_softmax", "softmax and mask"),
        ("aten::masked_fill_", "softmax and mask"),
        ("aten::native_layer_norm", "norm and activation"),
        ("aten::gelu_", "norm and activation"),
        ("aten::bernoulli_", "dropout"),
        ("aten::_nested_tensor_from_mask", "nested conversion"),
        ("aten::to_padded_tensor", "nested conversion"),
        ("packed::encoder", "whole encoder"),
        ("aten::_transformer_encoder_layer_fwd", None),
        ("aten::copy_", None),
        ("aten::mul", None),
    ],
)
def test_groups(operator: str, group: str | None) -> None:
    assert group_of(operator) == group
