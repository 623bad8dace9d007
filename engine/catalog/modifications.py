"""Named changes to an encoder or a call that change its execution path, for classes and tests.

Only their names and words; engine/doctor/modifications.py applies them.
"""

from dataclasses import dataclass

from engine.errors import Refusal


@dataclass(frozen=True)
class Modification:
    """A change to a working model before the doctor examines it."""

    name: str
    title: str
    code: str
    """The change as code."""


MODIFICATIONS: dict[str, Modification] = {
    modification.name: modification
    for modification in (
        Modification("train-mode", "Train mode, eval() forgotten", "model.train()"),
        Modification(
            "gradients", "Gradients on, no_grad() forgotten", "model(tokens)  # outside torch.no_grad()"
        ),
        Modification(
            "fastpath-off", "Fastpath switched off", "torch.backends.mha.set_fastpath_enabled(False)"
        ),
        Modification(
            "autocast", "bfloat16 autocast on the CPU", 'with torch.autocast("cpu", torch.bfloat16): ...'
        ),
        Modification("default-device", "A default device is set", 'torch.set_default_device("cpu")'),
        Modification("hook", "A forward hook on one layer", "encoder.layers[1].register_forward_hook(probe)"),
        Modification("unequal-eps", "One norm's eps differs", "encoder.layers[0].norm2.eps = 1e-3"),
        Modification("no-op-switch", "The tutorial's switch", "encoder.enable_nested_tensor = False"),
        Modification("sparsity-off", "Sparsity really off", "encoder.use_nested_tensor = False"),
        Modification("left-padding", "Texts padded on the left", 'tokenizer.padding_side = "left"'),
        Modification("pad-inside", "The padding id inside a text", "tokens[0, 2] = padding_id"),
        Modification("float-bias", "A distance bias as attention mask", "encoder(src, mask=distance_bias)"),
        Modification("adapter", "An adapter around a linear layer", "layer.linear1 = Adapter(layer.linear1)"),
    )
}


def find_modifications(names: tuple[str, ...]) -> tuple[Modification, ...]:
    """The modifications of these names, in this order.

    Raises:
        Refusal: a name is unknown; the known ones are listed.
    """
    for name in names:
        if name not in MODIFICATIONS:
            raise Refusal(f"There is no modification {name!r}. Choose among {', '.join(MODIFICATIONS)}.")
    return tuple(MODIFICATIONS[name] for name in names)
