"""A run in sentences: what is faster, what the profile proves, and what could not be measured. Pure functions."""

from engine.analysis.stats import paired_ratios, percentile, speedup
from engine.analysis.waterfall import MANY_PAGE_FAULTS
from engine.catalog import PATHS
from engine.records import Interval, PathResult, Run

FUSED_LAYER = "aten::_transformer_encoder_layer_fwd"
NESTED_CONVERSION = "aten::_nested_tensor_from_mask"

_NOUNS = {
    "slow": "the slow path",
    "slow-grad": "the slow path with gradients on",
    "slow-train": "the slow path in train mode",
    "fast-mha": "native MHA alone",
    "fast-nested": "native MHA + sparsity",
    "tutorial-mha": "the tutorial's 'MHA only'",
}


def path_noun(name: str) -> str:
    """A path's name inside a sentence."""
    return _NOUNS.get(name) or (PATHS[name].title if name in PATHS else name)


def path_title(name: str) -> str:
    """A path's name as a label."""
    return PATHS[name].title if name in PATHS else name


def speedup_text(value: float) -> str:
    """A speedup with the digits that matter: 2.1x, 0.85x, 1.02x."""
    return f"{value:.1f}x" if value >= 1.995 else f"{value:.2f}x"


def interval_words(interval: Interval | None) -> str:
    """A 95 % interval of a speedup: 2.0x to 2.2x; empty where there is none."""
    return f"{speedup_text(interval[0])} to {speedup_text(interval[1])}" if interval else ""


def others(run: Run) -> tuple[PathResult, ...]:
    """The measured paths but the baseline, fastest first."""
    measured = [p for p in run.paths if p.name != run.experiment.baseline and p.speedup is not None]
    return tuple(sorted(measured, key=lambda path: -(path.speedup or 0)))


def verdict_sentence(run: Run) -> str:
    """The answer of a run in one or two sentences, the fastest path first."""
    measured = others(run)
    baseline = path_noun(run.experiment.baseline)
    clauses = [_clause(path, baseline, first=number == 0) for number, path in enumerate(measured)]
    lost = [f"{path_noun(path.name)} gave no result" for path in run.paths if path.status != "ok"]
    if not clauses and not lost:
        return f"Only {baseline} was measured: add a path to compare it with."
    fetching = [path_noun(path.name) for path in measured if page_fault_sentence(path)]
    memory = (
        [f"{' and '.join(fetching)} fetched memory anew in every forward, which costs time"]
        if fetching
        else []
    )
    sentences = ["; ".join(part) for part in (clauses, lost, memory) if part]
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def _clause(path: PathResult, baseline: str, *, first: bool) -> str:
    noun, value = path_noun(path.name), speedup_text(path.speedup or 0)
    against = f" than {baseline} here" if first else ""
    interval = f" (95 % interval {interval_words(path.speedup_ci95)})" if path.speedup_ci95 and first else ""
    match path.verdict:
        case "faster":
            return f"{noun} is {value} faster{against}{interval}"
        case "slower":
            return f"{noun} is slower{against}: {value}{interval}"
        case "same":
            return f"{noun} is as fast as {baseline}{interval or f' ({value})'}"
        case _:
            told = path.verdict_reason and (first or path.speedup_ci95 is None)
            why = f": {path.verdict_reason}" if told else f" ({value})"
            return f"{noun} cannot be told from {baseline}{why}"


def speedup_between(run: Run, slow: str, fast: str) -> float | None:
    """Median paired speedup of one measured path over another; None where one gave no samples."""
    before, after = run.path(slow).samples_ms, run.path(fast).samples_ms
    return speedup(paired_ratios(before, after)) if before and after else None


def unfairness_sentence(run: Run, unfair: str, fast: str) -> str:
    """How much of a speedup over an unfair slow path is left over the fair one, which is the run's baseline."""
    seeming = speedup_between(run, unfair, fast)
    fair = speedup_between(run, run.experiment.baseline, fast)
    if seeming is None or fair is None:
        return ""
    return (
        f"Against {path_noun(unfair)}, as the tutorial compares, {path_noun(fast)} looks {speedup_text(seeming)} "
        f"faster; against {path_noun(run.experiment.baseline)} in eval mode and without gradients it is "
        f"{speedup_text(fair)}."
    )


def verdict_label(path: PathResult) -> str:
    """The verdict of one path in a word or two, for badges and tables."""
    if path.status != "ok":
        return path.status
    return path.verdict or "baseline"


def evidence_sentence(path: PathResult, layers: int | None) -> str:
    """What the profile proves of a path's execution, held against what the path claims.

    Args:
        layers: encoder layers of the model; None where the run keeps no model card.
    """
    if path.evidence is None:
        return "No profile was taken, so nothing proves how it ran."
    seen = _seen(path.evidence.ops, layers)
    if path.evidence.ok:
        return f"{seen[0].upper()}{seen[1:]}."
    if path.evidence.ops.get(FUSED_LAYER) == 0 and path.name.startswith("fast"):
        return f"Claims the fastpath but did not take it: {seen}."
    return f"Claims {path.evidence.claim}, but its profile shows otherwise: {seen}."


def _seen(ops: dict[str, float], layers: int | None) -> str:
    fused, nested = ops.get(FUSED_LAYER), ops.get(NESTED_CONVERSION)
    of_layers = f" of {layers}" if layers is not None else ""
    parts = [] if fused is None else [f"{fused:g}{of_layers} layers ran fused"]
    if nested is not None:
        parts.append("padding was skipped" if nested else "padding was computed")
    if any(name.startswith("aten::bernoulli") and calls for name, calls in ops.items()):
        parts.append("dropout was drawn")
    return ", ".join(parts) or "no operator of interest was seen"


def evidence_words(path: PathResult) -> str:
    """The proof of a path in a few words, for a cell of a table."""
    if path.evidence is None:
        return "no profile"
    claim = path.evidence.claim
    return f"proven: {claim}" if path.evidence.ok else f"refuted: {claim}; {_seen(path.evidence.ops, None)}"


def agreement_words(path: PathResult) -> str:
    """The agreement of a path in a few words, for a cell of a table."""
    if path.agreement is None:
        return "not compared"
    if path.agreement.max_abs_error is None:
        return "differs: not a number"
    return f"{'within' if path.agreement.ok else 'differs by'} {path.agreement.max_abs_error:.1e}"


def agreement_sentence(run: Run, path: PathResult) -> str:
    """How far a path's outputs are from the baseline's."""
    if path.name == run.experiment.baseline:
        return "The other paths' outputs are compared with its outputs."
    if path.agreement is None:
        return "Its outputs were not compared: it draws dropout anew each time."
    if path.agreement.max_abs_error is None:
        return "Its outputs are not all numbers: do not use it on this batch."
    error, allowed = f"{path.agreement.max_abs_error:.1e}", f"{path.agreement.tolerance:.0e}"
    if path.agreement.ok:
        return f"Same answer: outputs differ by at most {error}, {allowed} is allowed."
    return f"Different answer: outputs differ by {error}, {allowed} is allowed; do not use it."


def machine_sentence(run: Run) -> str:
    """Where and with what a run was measured."""
    env = run.environment
    return (
        f"{env.device_name}, {env.threads} of {env.cores} threads, torch {env.torch}, "
        f"{run.experiment.dtype}; {run.rounds} rounds, {run.stop_reason}."
    )


def batch_sentence(lengths: tuple[int, ...], padding_ratio: float, truncated: tuple[int, ...]) -> str:
    """A tokenized batch in one sentence."""
    texts = "1 text" if len(lengths) == 1 else f"{len(lengths)} texts"
    cut = f" {len(truncated)} cut at the longest length allowed." if truncated else ""
    return (
        f"{texts} of {min(lengths)} to {max(lengths)} tokens, {sum(lengths)} real tokens; "
        f"{padding_ratio:.0%} of the padded batch is padding.{cut}"
    )


def page_fault_sentence(path: PathResult) -> str:
    """What memory that is given back and fetched again does to a path, and the cure; empty where there is little."""
    if path.page_faults is None or path.page_faults < MANY_PAGE_FAULTS:
        return ""
    return (
        f"{path_title(path.name)} fetches {path.page_faults:,} pages of memory from the system in every forward, "
        "because the allocator gives them back after the last one; glibc keeps them where MALLOC_MMAP_THRESHOLD_ and "
        "MALLOC_TRIM_THRESHOLD_ are both set to 1073741824."
    )


def percentile_words(path: PathResult, q: float) -> str:
    """A percentile of a path's latency in ms, or what it still needs."""
    if path.calls_per_sample > 1:
        return f"calls timed alone (these are means of {path.calls_per_sample})"
    found = percentile(path.samples_ms, q)
    return f"needs {found.missing} more rounds" if found.value is None else f"{found.value:.1f} ms"
