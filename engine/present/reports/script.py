"""A run's path as a Python script, which runs the model on this path outside the app.

A run may be a stranger's file, so its texts and names go into the script as literals or comments only.
"""

from engine.catalog.paths import PathSpec, path_spec
from engine.errors import Refusal
from engine.present.words.runs import path_title, times_as_fast
from engine.records import Run

MOST_TEXTS = 8
FORWARDS = 10

_SCRIPT = """\
# {title}
# Save it in the folder of Fastpath Lab, which holds `engine`, and run it there.
import time

import torch

from engine.catalog.models import find_model
from engine.models.inputs import tokenize
from engine.models.loading import load_model
{imports}from engine.records import Batch
from engine.settings import load_settings

{texts_comment}TEXTS = (
{texts}
)

torch.set_num_threads({threads})
settings = load_settings()
loaded = load_model(
    find_model({model!r}), {dtype!r}, {device!r}, settings, lambda event: None, time.perf_counter
)
batch = tokenize(Batch(name="texts", texts=TEXTS), loaded.tokenizer, loaded.card.shape, settings)
tokens = batch.tokens.to({device!r})

{body}

with {switches}:
    logits = forward(tokens)  # the first call includes one-time work
    start = time.perf_counter()
    for _ in range({forwards}):
        logits = forward(tokens)
{synchronize}    forward_ms = (time.perf_counter() - start) / {forwards} * 1000
print(f"{{tuple(logits.shape)}}, {{forward_ms:.2f}} ms per forward")
"""

_SWITCHED = """\
forward = loaded.model.eval()
torch.backends.mha.set_fastpath_enabled({fastpath})"""
_SPARSITY = """
# forward() reads this flag; enable_nested_tensor, which the tutorial sets, is read in __init__ only.
forward.encoder.transformer.layers.use_nested_tensor = {sparsity}"""
_SLOW = _SWITCHED.format(fastpath=False)
_FAST = _SWITCHED.format(fastpath=True)
_BUCKETED = f'''\
{_SLOW.replace("forward =", "model =")}


def forward(tokens: torch.Tensor) -> torch.Tensor:
    """One slow forward for each group of texts of similar length."""
    lengths = tokens.ne(batch.padding_id).sum(1).tolist()
    parts, order = [], []
    for group in buckets(lengths):
        parts.append(model(tokens[list(group), : lengths[group[0]]]))
        order += group
    return torch.cat(parts)[torch.tensor(order, device=tokens.device).argsort()]
'''
_BODIES = {
    "slow": _SLOW,
    "fast-nested": _FAST + _SPARSITY.format(sparsity=True),
    "fast-mha": _FAST + _SPARSITY.format(sparsity=False),
    "bucketed": _BUCKETED,
}
"""Paths that call the model itself. A variant in a lower precision calls a model loaded in that precision."""
_PREPARED = """\
prepared = EXECUTION_PATHS[{name!r}].prepare(loaded.model)
forward = prepared.forward"""


def script_of(run: Run, name: str) -> str:
    """A complete script that runs the run's model and some of its texts on one path, and prints shape and time.

    Raises:
        Refusal: the run has no such path.
    """
    if name not in {path.name for path in run.paths}:
        known = ", ".join(path.name for path in run.paths)
        raise Refusal(f"This run has no path {name!r}; it has {known}.")
    experiment, texts = run.experiment, run.experiment.batch.texts
    spec = path_spec(name)
    imports, body = _imports_and_body(spec)
    few = f"# The first {MOST_TEXTS} of {len(texts)} texts.\n" if len(texts) > MOST_TEXTS else ""
    return _SCRIPT.format(
        title=_title(run, name),
        imports=imports,
        texts_comment=few,
        texts="\n".join(f"    {text!r}," for text in texts[:MOST_TEXTS]),
        threads=run.environment.threads,
        model=experiment.model,
        dtype=(spec.base in _BODIES and spec.precision) or experiment.dtype,
        device=experiment.device,
        body=body.rstrip("\n") + ("\n" if spec.kind == "groups" else ""),
        switches="torch.no_grad()" if _by_hand(spec) else "prepared.switches()",
        forwards=FORWARDS,
        synchronize="    torch.cuda.synchronize()\n" if experiment.device != "cpu" else "",
    )


def _by_hand(spec: PathSpec) -> bool:
    """Whether the script contains the path's own code; any other path is prepared by the lab and sets its switches."""
    return spec.kind == "packed" or spec.base in _BODIES


def _imports_and_body(spec: PathSpec) -> tuple[str, str]:
    """The imports and the lines that define `forward` for a path."""
    if spec.kind == "packed":
        dtype = f", {spec.precision!r}" if spec.precision else ""
        return "from engine.paths import pack\n", f"forward = pack(loaded.model{dtype})"
    if spec.kind == "groups":
        return "from engine.paths.bucketed import buckets\n", _BUCKETED
    if _by_hand(spec):
        return "", _BODIES[spec.base]
    return "from engine.paths import EXECUTION_PATHS\n", _PREPARED.format(name=spec.name)


def _title(run: Run, name: str) -> str:
    path = run.path(name)
    seen = f", {times_as_fast(path.speedup)} as the slow path there" if path.speedup else ""
    words = f"{path_title(name)}, as run {run.id} measured it{seen}: {run.title}"
    return " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
