"""What people do to an encoder that changes its path, by name: to be tried on purpose, in a class or in a test.

Only words here; engine/measure/doctor/circumstances.py applies them.
"""

from dataclasses import dataclass

from engine.errors import Refusal


@dataclass(frozen=True)
class Circumstance:
    """Something to do to a healthy model before the doctor looks at it."""

    name: str
    title: str
    code: str
    """How people write it."""


CIRCUMSTANCES: dict[str, Circumstance] = {
    circumstance.name: circumstance
    for circumstance in (
        Circumstance("train-mode", "Train mode, eval() forgotten", "model.train()"),
        Circumstance(
            "gradients", "Gradients on, no_grad() forgotten", "model(tokens)  # outside torch.no_grad()"
        ),
        Circumstance(
            "fastpath-off", "Fastpath switched off", "torch.backends.mha.set_fastpath_enabled(False)"
        ),
        Circumstance(
            "autocast", "bfloat16 autocast on the CPU", 'with torch.autocast("cpu", torch.bfloat16): ...'
        ),
        Circumstance("default-device", "A default device is set", 'torch.set_default_device("cpu")'),
        Circumstance("hook", "A forward hook on one layer", "encoder.layers[1].register_forward_hook(probe)"),
        Circumstance("unequal-eps", "One norm's eps differs", "encoder.layers[0].norm2.eps = 1e-3"),
        Circumstance("no-op-switch", "The tutorial's switch", "encoder.enable_nested_tensor = False"),
        Circumstance("sparsity-off", "Sparsity really off", "encoder.use_nested_tensor = False"),
        Circumstance("left-padding", "Texts padded on the left", 'tokenizer.padding_side = "left"'),
        Circumstance("pad-inside", "The padding id inside a text", "tokens[0, 2] = padding_id"),
        Circumstance("float-bias", "A distance bias as attention mask", "encoder(src, mask=distance_bias)"),
        Circumstance("adapter", "An adapter around a linear layer", "layer.linear1 = Adapter(layer.linear1)"),
    )
}


def find_circumstances(names: tuple[str, ...]) -> tuple[Circumstance, ...]:
    """The circumstances of these names, in this order.

    Raises:
        Refusal: a name is unknown; the known ones are listed.
    """
    for name in names:
        if name not in CIRCUMSTANCES:
            raise Refusal(f"There is no circumstance {name!r}; there are {', '.join(CIRCUMSTANCES)}.")
    return tuple(CIRCUMSTANCES[name] for name in names)
