"""The catalogue of execution paths: one row per path, for lists, sentences and charts; imports no torch.

`engine/paths` has the code that executes them, under the same names. A new path is one file there and one row here.
"""

from typing import Literal, get_args

from engine.errors import Refusal
from engine.records import Precision, Record

PathGroup = Literal["tutorial", "beyond", "lower precision"]
PATH_GROUPS: tuple[PathGroup, ...] = get_args(PathGroup)
"""In the order in which they are offered."""
PathKind = Literal["slow path", "fastpath", "groups", "packed", "library"]
"""What runs the layers: torch's slow path, torch's fastpath, slow forwards of groups of texts, packed execution, or
another library or compiler. Sentences about a profile depend on it."""

BASELINE = "slow"
"""The path that the others are compared with."""
OTHER_COLOUR = "#9467BD"
"""The colour of a path without a row, which a run of another version may have."""


class PathSpec(Record):
    """An execution path: its words, its colour, and its place in the order."""

    name: str
    title: str
    """Its name as a heading."""
    label: str
    """Its name in a chart: short, for narrow screens."""
    noun: str
    """Its name inside a sentence."""
    explanation: str
    group: PathGroup
    kind: PathKind
    colour: str
    """#RRGGBB, the same in every chart."""
    simplicity_rank: int
    """Its place in the order of simplicity: 0 is the model as it is, and a larger number takes more to set up. Of paths
    that are equally fast, the one with the smallest number is recommended."""
    base: str
    """The path that this is a variant of; its own name if it is not a variant."""
    precision: Precision | None = None
    """The precision it always computes in; None if it uses the model's dtype."""
    outside_torch: bool = False
    """Whether another library runs the encoder, so that torch's profiler and allocator do not see it."""
    for_inference: bool = True
    """Whether it may be recommended. The tutorial's settings that are unfair or have no effect may not."""
    default: bool = False
    """Whether it is measured by default."""


def path_row(name: str, **fields: object) -> PathSpec:
    """The row of a path that is not a variant; its label is its title unless another is given."""
    return PathSpec.model_validate({"name": name, "base": name, "label": fields["title"], **fields})


def variant(base: PathSpec, precision: Precision, explanation: str) -> PathSpec:
    """The row of the same path in a fixed precision."""
    title = f"{base.label}, {precision}"
    own = {
        "name": variant_name(base.name, precision),
        "title": title,
        "label": title,
        "noun": f"{base.noun} in {precision}",
        "explanation": explanation,
        "group": "lower precision",
        "colour": _tinted(base.colour, precision),
        "precision": precision,
        "default": False,
    }
    return base.model_copy(update=own)


def variant_name(base: str, precision: Precision) -> str:
    """The name of a path's variant in a precision."""
    return f"{base}@{precision}"


_TINTS: dict[Precision, tuple[str, float]] = {
    "bf16": ("#FFFFFF", 0.38),
    "fp16": ("#FFFFFF", 0.38),
    "int8": ("#000000", 0.38),
}
"""A variant has its base's hue: lighter for 16-bit floats, darker for integers."""


def _tinted(colour: str, precision: Precision) -> str:
    towards, share = _TINTS[precision]
    pairs = ((int(colour[i : i + 2], 16), int(towards[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(own + share * (other - own)):02X}" for own, other in pairs)


_SLOW_TRAIN = path_row(
    "slow-train",
    title="Slow path, train mode",
    noun="the slow path in train mode",
    explanation="The tutorial's first slow path: train mode, gradients recorded, dropout drawn.",
    group="tutorial",
    kind="slow path",
    colour="#CC79A7",
    simplicity_rank=0,
    for_inference=False,
)
_SLOW_GRAD = path_row(
    "slow-grad",
    title="Slow path, gradients on",
    noun="the slow path with gradients on",
    explanation="The tutorial's later slow path: eval mode, but gradients still recorded.",
    group="tutorial",
    kind="slow path",
    colour="#B0741A",
    simplicity_rank=0,
    for_inference=False,
)
_SLOW = path_row(
    "slow",
    title="Slow path",
    noun="the slow path",
    explanation="The fair baseline: eval mode, no gradients, fastpath switched off.",
    group="tutorial",
    kind="slow path",
    colour="#8A93A3",
    simplicity_rank=0,  # the baseline: chosen unless another path is faster
    default=True,
)
_FAST_MHA = path_row(
    "fast-mha",
    title="Fastpath, native MHA",
    label="Native MHA",
    noun="native MHA alone",
    explanation="One fused operator per layer; padding is still computed.",
    group="tutorial",
    kind="fastpath",
    colour="#E69F00",
    simplicity_rank=2,  # one switch to set
    default=True,
)
_FAST_NESTED = path_row(
    "fast-nested",
    title="Fastpath, native MHA + sparsity",
    label="Native MHA + sparsity",
    noun="native MHA + sparsity",
    explanation="One fused operator per layer, on nested tensors: padding costs nothing.",
    group="tutorial",
    kind="fastpath",
    colour="#2B8CC9",
    simplicity_rank=1,  # what torch does by default in eval mode without gradients
    default=True,
)
_TUTORIAL_MHA = path_row(
    "tutorial-mha",
    title="The tutorial's 'MHA only'",
    noun="the tutorial's 'MHA only'",
    explanation="The tutorial's own switch, enable_nested_tensor = False: a no-op, sparsity stays on.",
    group="tutorial",
    kind="fastpath",
    colour="#17A377",
    simplicity_rank=2,
    for_inference=False,
)
_BUCKETED = path_row(
    "bucketed",
    title="Batching by length",
    noun="batching by length",
    explanation="The common remedy: texts sorted by length, one slow forward per group of similar length.",
    group="beyond",
    kind="groups",
    colour="#7A6BD6",
    simplicity_rank=3,  # a few lines around the model
)
_PACKED = path_row(
    "packed",
    title="Packed",
    noun="packed execution",
    explanation="Padding-free: real tokens only, on weights laid out once for this processor.",
    group="beyond",
    kind="packed",
    colour="#D9541E",
    simplicity_rank=4,  # this project's module, and a second copy of the weights
    default=True,
)
_COMPILE = path_row(
    "compile",
    title="torch.compile",
    noun="torch.compile",
    explanation="The slow path compiled by torch.compile into one graph, for any shape.",
    group="beyond",
    kind="library",
    colour="#A3A11F",
    simplicity_rank=5,  # a C++ compiler, and a first call of many seconds
)
_HF_SDPA = path_row(
    "hf-sdpa",
    title="Hugging Face, SDPA",
    noun="Hugging Face's own model",
    explanation="Hugging Face's own code for the same encoder, on the same weights.",
    group="beyond",
    kind="library",
    colour="#C057C9",
    simplicity_rank=6,  # another library
)
_ONNXRUNTIME = path_row(
    "onnxruntime",
    title="ONNX Runtime",
    noun="ONNX Runtime",
    explanation="The encoder exported to ONNX and run by ONNX Runtime; CPU only.",
    group="beyond",
    kind="library",
    colour="#12808F",
    simplicity_rank=7,  # another library, an exported file, and memory that torch does not see
    outside_torch=True,
)
_OPENVINO = path_row(
    "openvino",
    title="OpenVINO",
    noun="OpenVINO",
    explanation="The encoder converted for OpenVINO and run by it in fp32; CPU only.",
    group="beyond",
    kind="library",
    colour="#8C6D5A",
    simplicity_rank=8,  # the same
    outside_torch=True,
)

PATHS: dict[str, PathSpec] = {
    spec.name: spec
    for spec in (
        *(_SLOW_TRAIN, _SLOW_GRAD, _SLOW, _FAST_MHA, _FAST_NESTED, _TUTORIAL_MHA),
        *(_BUCKETED, _PACKED, _COMPILE, _HF_SDPA, _ONNXRUNTIME, _OPENVINO),
        variant(_SLOW, "bf16", "The slow path on a copy of the model in bfloat16."),
        variant(_FAST_NESTED, "bf16", "The fastpath with sparsity on a copy of the model in bfloat16."),
        variant(_BUCKETED, "bf16", "Batching by length on a copy of the model in bfloat16."),
        variant(
            _PACKED,
            "bf16",
            "Padding-free with bfloat16 linear layers and attention; residuals and norms stay in fp32.",
        ),
        variant(
            _COMPILE,
            "bf16",
            "The slow path compiled by torch.compile, on a copy of the model in bfloat16.",
        ),
        variant(_HF_SDPA, "bf16", "Hugging Face's own code, on a copy of the model in bfloat16."),
        variant(_OPENVINO, "bf16", "OpenVINO in bfloat16, if the processor supports it; CPU only."),
        variant(
            _ONNXRUNTIME,
            "int8",
            "ONNX Runtime's dynamic quantisation: 8-bit weights and activations, with a larger error.",
        ),
    )
}


def find_paths(names: tuple[str, ...]) -> tuple[PathSpec, ...]:
    """The execution paths of these names, in the order given.

    Raises:
        Refusal: a name is unknown.
    """
    unknown = [name for name in names if name not in PATHS]
    if unknown:
        raise Refusal(f"There is no path {unknown[0]!r}. Choose among {', '.join(PATHS)}.")
    return tuple(PATHS[name] for name in names)


def path_spec(name: str) -> PathSpec:
    """The row of a path in a run; for a path of another version, a row made from its name alone."""
    return PATHS.get(name) or path_row(
        name,
        title=name,
        noun=name,
        explanation="",
        group="beyond",
        kind="library",
        colour=OTHER_COLOUR,
        simplicity_rank=max(spec.simplicity_rank for spec in PATHS.values()) + 1,
    )


def paths_of(group: PathGroup) -> tuple[str, ...]:
    """Names of the paths of a group, in the order in which they are offered."""
    return tuple(spec.name for spec in PATHS.values() if spec.group == group)


def default_paths() -> tuple[str, ...]:
    """Names of the paths that are measured by default, the baseline among them."""
    return tuple(spec.name for spec in PATHS.values() if spec.default)
