"""A run's comparison as a Python script that repeats it: baseline against one path, in paired rounds.

The paths of torch itself need torch alone: the script contains an encoder of the model's shape with random weights.
The lab's own paths and those of other libraries need the lab. A run may be a stranger's file, so its texts and names go
into the script as literals or comments only.
"""

from dataclasses import dataclass

from engine.allocator import DEFAULTS, KEPT, STARTED_FOR, allocator_words, child_environment
from engine.analysis.recommend import compared_paths, recommended_path
from engine.catalog.paths import PathSpec, path_spec
from engine.errors import Refusal
from engine.present.reports.rendering import rendered
from engine.present.words.runs import interval_words, path_title, times_as_fast
from engine.records import EncoderShape, Precision, Run

FEWEST_ROUNDS, MOST_ROUNDS = 20, 60
"""Rounds of the script: the run's number within these limits."""

_SWITCHES: dict[str, tuple[str, ...]] = {
    "slow-train": ("train", "gradients", "fastpath", "sparsity"),
    "slow-grad": ("gradients", "fastpath", "sparsity"),
    "slow": (),
    "fast-mha": ("fastpath",),
    "fast-nested": ("fastpath", "sparsity"),
    "tutorial-mha": ("fastpath", "sparsity"),  # the tutorial's switch does nothing
    "bucketed": (),
    "compile": (),
}
"""The paths that need torch alone, with the switches that are on, as in engine/paths/switches.py."""
_TORCH_DTYPES: dict[Precision, str] = {
    "fp32": "torch.float32",
    "bf16": "torch.bfloat16",
    "fp16": "torch.float16",
}


@dataclass(frozen=True)
class _Way:
    """How the script calls one path: an expression for its forward, the model whose switches are set, and which."""

    forward: str
    model: str
    switches: str


def script_of(run: Run, name: str) -> str:
    """A complete script that measures the run's baseline and one path, and prints the median of the paired ratios.

    Raises:
        Refusal: the run has no such path, the path is the baseline, or the run keeps no shape or no lengths.
    """
    _check(run, name)
    shape, experiment = _shape(run), run.experiment
    path, baseline = path_spec(name), path_spec(experiment.baseline)
    values = {
        "title": f"{path_title(name)} against {path_title(baseline.name)}: {run.title}",
        "run_id": run.id,
        "machine": f"{run.environment.device_name} with torch {run.environment.torch}",
        "baseline": baseline.name,
        "path": name,
        "shape": shape,
        "lengths": experiment.batch.lengths,
        "device": experiment.device,
        "threads": run.environment.threads,
        "rounds": max(FEWEST_ROUNDS, min(run.rounds, MOST_ROUNDS)),
        "calls": {p.name: p.calls_per_sample for p in (run.baseline, run.path(name))},
        "cuda": experiment.device != "cpu",
        "fastpath": path.kind == "fastpath",
        "measured": _measured(run, name),
        **_allocator(run),
    }
    alone = needs_torch_alone(name) and needs_torch_alone(baseline.name)
    return rendered(
        "comparison.py.jinja", **values, **(_alone(run, path, baseline) if alone else _of_the_lab(run, path))
    )


def path_to_export(run: Run) -> str | None:
    """The path that a script compares with the baseline unless another is named; None if nothing was compared.

    It is the recommended path, or, where that is the baseline, the fastest other path.
    """
    name = recommended_path(run)
    if name != run.experiment.baseline:
        return name
    return next((path.name for path in compared_paths(run)), None)


def needs_torch_alone(name: str) -> bool:
    """Whether the script for this path runs without the lab."""
    spec = path_spec(name)
    return spec.base in _SWITCHES and (spec.precision is None or spec.precision in _TORCH_DTYPES)


def _check(run: Run, name: str) -> None:
    known = [path.name for path in run.paths if path.name != run.experiment.baseline and path.samples_ms]
    choice = f"choose {' or '.join(known)}" if known else "it has no other path that was measured"
    if name == run.experiment.baseline:
        raise Refusal(f"A script compares a path with the baseline, and {name} is the baseline: {choice}.")
    if name not in known:
        raise Refusal(f"This run has no measured path {name!r}: {choice}.")


def _shape(run: Run) -> EncoderShape:
    if run.model_card is None or not run.experiment.batch.lengths:
        raise Refusal(
            f"The run {run.id} does not contain the shape of its model and the lengths of its texts, so no script can "
            "repeat it: measure again."
        )
    return run.model_card.shape


def _alone(run: Run, path: PathSpec, baseline: PathSpec) -> dict[str, object]:
    """What the template needs for paths of torch itself."""
    half = _TORCH_DTYPES[path.precision] if path.precision else ""
    way, slow = _way(path), _way(baseline)
    return {
        "alone": True,
        "needs": "torch alone" if path.base != "compile" else "torch and a C++ compiler",
        "dtype": _TORCH_DTYPES[run.experiment.dtype],
        "half": half,
        "groups": "bucketed" in (path.base, baseline.base),
        "way": way,
        "baseline_way": slow,
    }


def _way(spec: PathSpec) -> _Way:
    model = "other" if spec.precision else "model"
    forward = {
        "bucketed": f"lambda tokens: by_length({model}, tokens)",
        "compile": f"torch.compile({model}, dynamic=True, fullgraph=True)",
    }.get(spec.base, model)
    switches = ", ".join((model, *(f"{switch}=True" for switch in _SWITCHES[spec.base])))
    return _Way(forward=forward, model=model, switches=switches)


def _of_the_lab(run: Run, path: PathSpec) -> dict[str, object]:
    """What the template needs for paths that the lab prepares."""
    packed = path.kind == "packed"
    return {
        "alone": False,
        "needs": "Fastpath Lab",
        "dtype": run.experiment.dtype,
        "packed": packed,
        "pack_dtype": path.precision,
    }


def _allocator(run: Run) -> dict[str, object]:
    """The variables that keep freed memory in the process, if the run had them; else its allocator in words.

    The values are the lab's own. Those in the run are not used: LD_PRELOAD in a stranger's file would load a library.
    """
    words = allocator_words(run.environment)
    if not words.startswith(KEPT):
        return {"allocator": {}, "other_allocator": "" if words == DEFAULTS else words}
    variables = child_environment("kept", {}, run.environment.platform)
    return {
        "allocator": {name: value for name, value in variables.items() if name != STARTED_FOR},
        "other_allocator": "",
    }


def _measured(run: Run, name: str) -> str:
    """What the run measured, as the last line that the script prints."""
    path = run.path(name)
    interval = f" ({interval_words(path.speedup_ci95)})" if path.speedup_ci95 else ""
    return f"the run measured {times_as_fast(path.speedup or 1.0)}{interval}"
