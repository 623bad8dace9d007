"""The cure of each failing condition and each danger: the line of code for the user, and the change on a copy.

A cure that cannot be tried automatically gives the reason. What only training can change has no cure.
"""

from dataclasses import dataclass

from engine.doctor.call_changes import (
    around_encoders,
    as_batch,
    causal_mask,
    cut,
    drop_clear_mask,
    drop_masks,
    input_precision,
    inverted,
    put_back,
    real_tokens_first,
    setting,
    texts_first,
)
from engine.doctor.module_changes import (
    Apply,
    activation_as_called,
    equal_eps,
    eval_mode,
    exact_gelu,
    join_weights,
    known_activation,
    layer_norms,
    nested_on,
    no_mask_check,
    on_layers,
    plain_linears,
    really_no_nested,
    remove_hooks,
    torchs_forward,
    unwrap_tensors,
    zero_biases,
)


@dataclass(frozen=True)
class Cure:
    """One change that makes the fastpath be taken, or its answer right.

    Attributes:
        key: the name of the cure; several conditions may have the same cure.
        code: the line of code for the user.
        apply: makes the change on a copy, or returns why it cannot.
        gives_up: it makes the answer right by leaving the fastpath, so no other cure follows.
    """

    key: str
    title: str
    code: str
    apply: Apply
    gives_up: bool = False


def cure_for(problem: str) -> Cure | None:
    """The cure of a condition or danger by its key; None if there is none."""
    return _BY_PROBLEM.get(problem)


def cure_codes() -> dict[str, str]:
    """The line of code for every condition and danger that has one."""
    return {problem: cure.code for problem, cure in _BY_PROBLEM.items()}


EVAL = Cure("eval", "Eval mode", "model.eval()", eval_mode)
NO_GRAD = Cure(
    "no-gradients",
    "No gradients",
    "with torch.inference_mode(): model(tokens)",
    setting(gradients=False),
)
FASTPATH_ON = Cure(
    "fastpath-on",
    "Fastpath switched on",
    "torch.backends.mha.set_fastpath_enabled(True)",
    setting(fastpath=True),
)
FASTPATH_OFF = Cure(
    "fastpath-off",
    "The slow path, which is right",
    "torch.backends.mha.set_fastpath_enabled(False)",
    setting(fastpath=False),
    gives_up=True,
)
NO_AUTOCAST = Cure(
    "no-autocast",
    "No autocast",
    "model.to(torch.bfloat16)  # instead of autocast; a module in bfloat16 takes the fastpath",
    setting(autocast="off"),
)
PLAIN_TENSORS = Cure(
    "plain-tensors",
    "Plain tensors, no default device",
    "torch.set_default_device(None)  # and parameters as plain nn.Parameter",
    unwrap_tensors,
)
NO_HOOKS = Cure(
    "no-hooks",
    "Hooks removed",
    "handle.remove()  # for pruning: prune.remove(module, 'weight')",
    on_layers(remove_hooks),
)
EQUAL_EPS = Cure(
    "equal-eps",
    "Equal eps",
    "layer.norm2.eps = layer.norm1.eps  # before the encoder is built, or set use_nested_tensor again",
    on_layers(equal_eps),
)
TEXTS_FIRST = Cure(
    "batch-first",
    "Texts first",
    "nn.TransformerEncoderLayer(..., batch_first=True)  # and pass (texts, length, width)",
    texts_first,
)
BIASES = Cure(
    "biases",
    "Biases of zeros",
    "nn.TransformerEncoderLayer(..., bias=True)  # load with strict=False and zero the new biases",
    on_layers(zero_biases),
)
JOINED = Cure(
    "joined-weight",
    "One joined weight",
    "attention.in_proj_weight = nn.Parameter(torch.cat([q_weight, k_weight, v_weight]))",
    on_layers(join_weights),
)
KNOWN_ACTIVATION = Cure(
    "known-activation",
    "torch's own activation",
    "nn.TransformerEncoderLayer(..., activation=F.gelu)  # the function itself, no lambda around it",
    known_activation,
)
AS_BATCH = Cure(
    "as-batch",
    "A batch of one",
    "encoder(src.unsqueeze(0))[0]",
    lambda subject, _facts: subject.changed(
        around_encoders(as_batch, lambda output, notes: output[0] if notes["single"] else output)
    ),
)
NESTED_ON = Cure(
    "nested-on",
    "Sparsity switched on",
    "nn.TransformerEncoder(layer, n, enable_nested_tensor=True)  # afterwards: encoder.use_nested_tensor = True",
    nested_on,
)
PADDING_MASK = Cure(
    "padding-mask",
    "A padding mask",
    "encoder(src, src_key_padding_mask=(tokens == padding_id))",
    lambda _subject, _facts: (
        "the doctor cannot know which tokens are padding; without padding there is no gain"
    ),
)
MASK_CHECK_OFF = Cure(
    "mask-check-off",
    "No check of the mask",
    "nn.TransformerEncoder(layer, n, mask_check=False)  # only if every text is padded on the right",
    no_mask_check,
)
RIGHT_PADDED = Cure(
    "right-padded",
    "Padded on the right",
    "tokenizer.padding_side = 'right'  # real tokens first, and no padding id inside a text",
    lambda subject, _facts: subject.changed(around_encoders(real_tokens_first, put_back)),
)
NO_MASK = Cure(
    "no-attention-mask",
    "No attention mask",
    "encoder(src, src_key_padding_mask=padding)  # mask=None",
    drop_clear_mask,
)
NESTED_ALONE = Cure("nested-alone", "No mask beside a nested input", "layer(nested)", drop_masks)
TORCHS_FORWARD = Cure(
    "torchs-forward",
    "torch's own forward",
    "layer = nn.TransformerEncoderLayer(...)  # and load_state_dict",
    torchs_forward,
)
CAUSAL_MASK = Cure(
    "causal-mask",
    "The causal mask itself",
    "encoder(src, mask=nn.Transformer.generate_square_subsequent_mask(length))",
    lambda subject, _facts: subject.changed(around_encoders(causal_mask)),
)
ACTIVATION_NOTED = Cure(
    "activation-noted",
    "The activation noted again",
    "layer.activation_relu_or_gelu = 0  # 1 for relu, 2 for gelu, 0 leaves the fastpath",
    activation_as_called,
    gives_up=True,
)
EXACT_GELU = Cure(
    "exact-gelu",
    "The exact gelu",
    "layer.activation = F.gelu  # changes the answer a little, to what the fastpath gives",
    on_layers(exact_gelu),
)
PLAIN_LINEARS = Cure(
    "merged",
    "Merged into one linear layer",
    "model = peft_model.merge_and_unload()  # one nn.Linear that computes the same",
    plain_linears,
)
PLAIN_LAYERS = Cure(
    "plain-layers",
    "Plain linear layers",
    "layer.linear1 = nn.Linear(...)  # leave the encoder's layers out of quantize_dynamic",
    layer_norms,
)
REAL_DROPPED = Cure(
    "no-empty-batch",
    "A batch with text in it",
    "tokens = tokens[(tokens != padding_id).any(1)]",
    lambda _subject, _facts: "a batch that is all padding has nothing to encode",
)
INVERTED = Cure(
    "mask-inverted",
    "The mask the right way round",
    "encoder(src, src_key_padding_mask=~attention_mask.bool())  # True on padding",
    lambda subject, _facts: subject.changed(around_encoders(inverted)),
)
CUT = Cure("cut", "Texts cut", "tokens = tokens[:, :max_tokens]", cut)
INPUT_PRECISION = Cure("input-precision", "One precision", "encoder(src.to(weight.dtype))", input_precision)
NESTED_REALLY_OFF = Cure(
    "really-off",
    "Sparsity really off",
    "encoder.use_nested_tensor = False  # what enable_nested_tensor = False was meant to do",
    really_no_nested,
    gives_up=True,
)
OLD_ATTRIBUTE = Cure("nested-attribute", "The attribute set", "encoder.use_nested_tensor = True", nested_on)

_PROBLEMS: dict[Cure, tuple[str, ...]] = {
    EVAL: ("eval-mode", "eval-mode-encoder", "eval-mode-attention", "live-dropout"),
    NO_GRAD: ("no-gradients", "no-gradients-encoder", "no-gradients-attention"),
    FASTPATH_ON: ("fastpath-enabled", "fastpath-enabled-encoder", "fastpath-enabled-attention"),
    FASTPATH_OFF: ("graded-mask", "graded-padding", "bias-kv", "zero-attention", "global-hooks"),
    NO_AUTOCAST: ("no-autocast", "no-autocast-encoder", "no-autocast-attention", "cpu-autocast"),
    PLAIN_TENSORS: ("plain-tensors", "plain-tensors-encoder", "plain-tensors-attention"),
    NO_HOOKS: ("no-hooks", "silent-hooks"),
    EQUAL_EPS: ("equal-eps", "equal-eps-encoder"),
    TEXTS_FIRST: ("batch-first", "batch-first-encoder"),
    BIASES: ("attention-bias", "attention-bias-encoder"),
    JOINED: ("same-widths", "same-widths-encoder"),
    KNOWN_ACTIVATION: ("activation", "activation-encoder"),
    AS_BATCH: ("batched", "batched-encoder"),
    NESTED_ON: ("use-nested",),
    OLD_ATTRIBUTE: ("nested-attribute",),
    PADDING_MASK: ("padding-mask",),
    MASK_CHECK_OFF: ("not-compiling",),
    RIGHT_PADDED: ("right-padded", "left-padding", "padding-inside"),
    NO_MASK: ("no-attention-mask",),
    NESTED_ALONE: ("nested-without-mask",),
    TORCHS_FORWARD: ("own-forward", "own-forward-encoder"),
    CAUSAL_MASK: ("causal-hint",),
    ACTIVATION_NOTED: ("activation-swapped",),
    EXACT_GELU: ("approximate-gelu",),
    PLAIN_LINEARS: ("replaced-part",),
    PLAIN_LAYERS: ("missing-tensors",),
    REAL_DROPPED: ("only-padding", "empty-row"),
    INVERTED: ("inverted-mask",),
    CUT: ("beyond-positions",),
    INPUT_PRECISION: ("mixed-precision", "attention-dtype"),
    NESTED_REALLY_OFF: ("no-op-switch",),
}
_BY_PROBLEM = {problem: cure for cure, problems in _PROBLEMS.items() for problem in problems}
