"""The execution paths on offer, with their words: plain data, free of torch."""

from engine.errors import Refusal
from engine.records import Record


class PathSpec(Record):
    """An execution path in words: what pages and tables say of it."""

    name: str
    title: str
    explanation: str


PATHS: dict[str, PathSpec] = {
    spec.name: spec
    for spec in (
        PathSpec(
            name="slow-train",
            title="Slow path, train mode",
            explanation="The tutorial's first slow path: train mode, gradients recorded, dropout drawn.",
        ),
        PathSpec(
            name="slow-grad",
            title="Slow path, gradients on",
            explanation="The tutorial's later slow path: eval mode, but gradients still recorded.",
        ),
        PathSpec(
            name="slow",
            title="Slow path",
            explanation="The fair baseline: eval mode, no gradients, fastpath switched off.",
        ),
        PathSpec(
            name="fast-mha",
            title="Fastpath, native MHA",
            explanation="One fused operator a layer; padding is still computed.",
        ),
        PathSpec(
            name="fast-nested",
            title="Fastpath, native MHA + sparsity",
            explanation="One fused operator a layer on nested tensors: padding costs nothing.",
        ),
        PathSpec(
            name="tutorial-mha",
            title="The tutorial's 'MHA only'",
            explanation="The tutorial's own switch, enable_nested_tensor = False: a no-op, sparsity stays on.",
        ),
        PathSpec(
            name="bucketed",
            title="Batching by length",
            explanation="What people do today: texts sorted by length, a slow forward for each group of like length.",
        ),
        PathSpec(
            name="packed",
            title="Packed",
            explanation="Padding-free: real tokens only, on weights laid out once for this processor.",
        ),
        PathSpec(
            name="compile",
            title="torch.compile",
            explanation="The slow path compiled by torch.compile into one graph, for any shape.",
        ),
        PathSpec(
            name="hf-sdpa",
            title="Hugging Face, SDPA",
            explanation="Hugging Face's own code for the same encoder, on the same weights.",
        ),
        PathSpec(
            name="onnxruntime",
            title="ONNX Runtime",
            explanation="The encoder exported to ONNX and run by ONNX Runtime; CPU only.",
        ),
        PathSpec(
            name="openvino",
            title="OpenVINO",
            explanation="The encoder converted for OpenVINO and run by it in fp32; CPU only.",
        ),
        PathSpec(
            name="slow@bf16",
            title="Slow path, bf16",
            explanation="The slow path on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="fast-nested@bf16",
            title="Native MHA + sparsity, bf16",
            explanation="The fastpath with sparsity on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="bucketed@bf16",
            title="Batching by length, bf16",
            explanation="Groups of like length through the slow path, on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="packed@bf16",
            title="Packed, bf16",
            explanation="Padding-free with bfloat16 linear layers and attention; residuals and norms stay in fp32.",
        ),
        PathSpec(
            name="compile@bf16",
            title="torch.compile, bf16",
            explanation="The slow path compiled by torch.compile, on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="hf-sdpa@bf16",
            title="Hugging Face, SDPA, bf16",
            explanation="Hugging Face's own code, on a copy of the model in bfloat16.",
        ),
        PathSpec(
            name="openvino@bf16",
            title="OpenVINO, bf16",
            explanation="OpenVINO computing in bfloat16, where the processor can; CPU only.",
        ),
        PathSpec(
            name="onnxruntime@int8",
            title="ONNX Runtime, int8",
            explanation="ONNX Runtime's dynamic quantisation: 8-bit weights and activations, and their error.",
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
