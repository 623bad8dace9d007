"""A run in sentences: what is faster, what the profile proves, and what could not be measured. Pure functions."""

from collections.abc import Sequence

from engine.analysis.break_even import break_even_batches, once_ms
from engine.analysis.centres import unlike_centres
from engine.analysis.continuing import More
from engine.analysis.recommend import Pick, Recommendation, compared_paths, keeps_the_answer, recommend
from engine.analysis.stats import paired_ratios, percentile, shared_confidence, speedup
from engine.analysis.verdict import duration_text
from engine.catalog.operators import (
    DROPOUT_DRAW,
    FUSED_LAYER,
    NESTED_CONVERSION,
    PACKED_ATTENTION,
    PACKED_ENCODER,
    PACKED_LINEAR,
    SDPA,
)
from engine.catalog.paths import path_spec
from engine.findings import Findings
from engine.records import Interval, PathResult, Run

MOST_CLAUSES = 5
"""How many paths a verdict names one by one."""


def path_noun(name: str) -> str:
    """A path's name inside a sentence."""
    return path_spec(name).noun


def path_title(name: str) -> str:
    """A path's name as a heading."""
    return path_spec(name).title


def paths_listed(names: Sequence[str]) -> str:
    """Paths as the beginning of a sentence: The slow path, native MHA alone and packed execution."""
    *first, last = map(path_noun, names)
    words = f"{', '.join(first)} and {last}" if first else last
    return f"{words[0].upper()}{words[1:]}"


def speedup_text(value: float) -> str:
    """A speedup with the digits that matter: 2.1x, 0.85x, 1.02x."""
    return f"{value:.1f}x" if value >= 1.995 else f"{value:.2f}x"


def times_as_fast(value: float) -> str:
    """A speedup inside a sentence: 2.1x as fast, 0.48x as fast. "2.1x faster" would be read as 3.1x as fast."""
    return f"{speedup_text(value)} as fast"


def sentence_case(words: str) -> str:
    """Words with a capital first letter; a name with a dot in it, as torch.compile, keeps its own spelling."""
    first = words.split(maxsplit=1)[0] if words.strip() else ""
    return words if "." in first[:-1] else f"{words[:1].upper()}{words[1:]}"


def interval_words(interval: Interval | None) -> str:
    """A 95 % interval of a speedup: 2.0x to 2.2x; empty where there is none."""
    return f"{speedup_text(interval[0])} to {speedup_text(interval[1])}" if interval else ""


def speedups_caption(run: Findings) -> str:
    """What the chart of speedups shows, and whether there are too few rounds for an interval or a noise band."""
    known = any(path.speedup_ci95 for path in run.paths)
    interval = ", with the 95 % interval" if known else f"; {run.rounds} rounds are too few for an interval"
    band = " Grey band: noise, the slow path measured against itself." if run.noise_floor.ci95 else ""
    return f"Bars: the median over the rounds of the slow path's time / this path's time{interval}.{band}"


HERE = "here"


def verdict_sentence(run: Findings, where: str = HERE) -> str:
    """The answer of a run in one or two sentences, the fastest path first.

    Args:
        where: where it was measured, in words.
    """
    measured = compared_paths(run)
    baseline = path_noun(run.experiment.baseline)
    named, left = measured[:MOST_CLAUSES], len(measured[MOST_CLAUSES:])
    clauses = [_clause(path, baseline, "" if number else f" {where}") for number, path in enumerate(named)]
    rest = "path has a lower speedup" if left == 1 else "paths have lower speedups"
    clauses += [f"{left} more {rest}"] if left else []
    lost = [f"{path_noun(path.name)} gave no result" for path in run.paths if path.status != "ok"]
    if not clauses and not lost:
        return f"Only {baseline} was measured: add a path to compare it with."
    sentences = ["; ".join(part) for part in (clauses, lost) if part]
    return " ".join(f"{sentence_case(sentence)}." for sentence in sentences)


def _clause(path: PathResult, baseline: str, where: str) -> str:
    """What is said of one path; of the first with the place and the interval.

    Args:
        where: a space and where it was measured; empty for the other paths.
    """
    first = bool(where)
    noun, value = path_noun(path.name), speedup_text(path.speedup or 0)
    interval = f" (95 % interval {interval_words(path.speedup_ci95)})" if path.speedup_ci95 and first else ""
    match path.verdict:
        case "faster":
            return f"{noun} is {value} as fast{f' as {baseline}{where}' if first else ''}{interval}"
        case "slower":
            return f"{noun} is slower{f' than {baseline}{where}' if first else ''}: {value} as fast{interval}"
        case "same":
            return f"{noun} is as fast as {baseline}{interval or f' ({value})'}"
        case _:
            explained = path.verdict_reason and (first or path.speedup_ci95 is None)
            why = f": {path.verdict_reason}" if explained else f" ({value})"
            return f"not sure whether {noun} is faster or slower than {baseline}{why}"


def speedup_between(run: Run, slow: str, fast: str) -> float | None:
    """Median paired speedup of one measured path over another; None where one gave no samples."""
    before, after = run.path(slow).samples_ms, run.path(fast).samples_ms
    return speedup(paired_ratios(before, after)) if before and after else None


def unfairness_sentence(run: Run, unfair: str, fast: str) -> str:
    """A path's speedup over an unfair slow path, beside its speedup over the fair one, the run's baseline."""
    seeming = speedup_between(run, unfair, fast)
    fair = speedup_between(run, run.experiment.baseline, fast)
    if seeming is None or fair is None:
        return ""
    return (
        f"Against {path_noun(unfair)}, as the tutorial compares, {path_noun(fast)} looks {times_as_fast(seeming)}; "
        f"against {path_noun(run.experiment.baseline)} in eval mode and without gradients it is "
        f"{times_as_fast(fair)}."
    )


def verdict_label(path: PathResult) -> str:
    """The verdict of one path in a word or two, for badges and tables."""
    if path.status != "ok":
        return path.status
    return path.verdict or "baseline"


def evidence_sentence(path: PathResult, layers: int | None) -> str:
    """What the profile shows of a path's execution, compared with what the path should show.

    Args:
        layers: encoder layers of the model; None where the run keeps no model card.
    """
    if path.evidence is None:
        return "No profile was taken, so nothing proves how it ran."
    seen = _seen(path, layers)
    if path.evidence.ok:
        return f"{sentence_case(seen)}."
    if path.evidence.ops.get(FUSED_LAYER) == 0 and path_spec(path.name).kind == "fastpath":
        return f"The fastpath was not taken: {seen}."
    return f"Expected: {path.evidence.claim}. The profile shows something else: {seen}."


def _seen(path: PathResult, layers: int | None) -> str:
    """What was counted in a path's profile, in words."""
    assert path.evidence is not None  # noqa: S101  (the callers ask first)
    ops, kind = path.evidence.ops, path_spec(path.name).kind
    if kind == "library":  # nothing but its expected counts is read from its profile
        counts = ", ".join(f"{calls:g} x {name.partition('::')[2]}" for name, calls in ops.items())
        return path.evidence.claim if path.evidence.ok else f"{counts} per forward"
    if kind == "packed" and not ops.get(FUSED_LAYER):
        parts = [_of_packed(ops, layers), "no padding was computed"]
    elif kind == "groups" and layers and not ops.get(FUSED_LAYER):
        groups = _groups(ops.get(SDPA, 0) / layers)
        parts = [f"{groups} of texts of similar length, each padded to its longest text only"]
    else:
        parts = _of_the_fastpath(ops, layers)
    if ops.get(DROPOUT_DRAW):
        parts.append("dropout was drawn")
    return ", ".join(parts) or "none of the counted operators was seen"


def _of_packed(ops: dict[str, float], layers: int | None) -> str:
    if ops.get(PACKED_ENCODER):
        return "all layers ran in one call of compiled kernels"
    if attentions := ops.get(PACKED_ATTENTION):
        return _compiled_attention(attentions, layers)
    if ops.get(PACKED_LINEAR):
        return f"{ops[PACKED_LINEAR]:g} linear layers ran on laid-out weights"
    return "no fused layer ran"


def _compiled_attention(count: float, layers: int | None) -> str:
    """In how many layers the attention ran in a compiled kernel, and why the last one may not be among them."""
    if layers is None:
        return f"attention ran in a compiled kernel in {count:g} layers"
    words = f"attention ran in a compiled kernel in {count:g} of {layers} layers"
    if count == layers - 1:
        return f"{words} (the last layer computes attention for each text's first token only, without the kernel)"
    return words


def _groups(count: float) -> str:
    return "1 group" if count == 1 else f"{count:g} groups"


def _of_the_fastpath(ops: dict[str, float], layers: int | None) -> list[str]:
    fused, nested = ops.get(FUSED_LAYER), ops.get(NESTED_CONVERSION)
    of_layers = f" of {layers}" if layers is not None else ""
    parts = [] if fused is None else [f"{fused:g}{of_layers} layers ran fused"]
    if nested is not None:
        parts.append("padding was skipped" if nested else "padding was computed")
    return parts


def evidence_words(path: PathResult) -> str:
    """The proof of a path in a few words, for a cell of a table."""
    if path.evidence is None:
        return "no profile"
    claim = path.evidence.claim
    return f"proven: {claim}" if path.evidence.ok else f"refuted: {claim}; {_seen(path, None)}"


def agreement_words(path: PathResult) -> str:
    """The agreement of a path in a few words, for a cell of a table."""
    if path.agreement is None:
        return "not compared"
    if path.agreement.max_abs_error is None:
        return "differs: not a number"
    return f"{'within' if path.agreement.ok else 'differs by'} {path.agreement.max_abs_error:.1e}"


def agreement_sentence(run: Findings, path: PathResult) -> str:
    """How far a path's outputs are from the baseline's."""
    if path.name == run.experiment.baseline:
        return "The other paths' outputs are compared with its outputs."
    if path.agreement is None:
        return "Its outputs were not compared: dropout changes them in every call."
    if path.agreement.max_abs_error is None:
        return "Its outputs are not all numbers: do not use it on this batch."
    error, limit = error_text(path.agreement.max_abs_error), error_text(path.agreement.tolerance)
    if path.agreement.ok and not keeps_the_answer(run, path):
        return (
            f"Close answer: in {path.dtype} outputs differ by at most {error}. Your use decides whether that is "
            f"good enough; above {limit} the path is rejected."
        )
    if path.agreement.ok:
        return f"Same answer: outputs differ by at most {error}; up to {limit} counts as rounding."
    return f"Different answer: outputs differ by {error}, more than the limit of {limit}; do not use it."


def error_text(value: float) -> str:
    """A difference between outputs with two digits: 0.02, 1.2e-06."""
    return f"{value:.2g}"


def ms_words(value: float) -> str:
    """A time with the digits that matter: 0.4 ms, 35 ms, 2.1 s."""
    if value >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def break_even_sentence(run: Findings, path: PathResult) -> str:
    """After how many batches a path's one-time costs are paid back; empty where that is not known, or never."""
    batches, once = break_even_batches(run, path), once_ms(path)
    if batches is None or once is None:
        return ""
    if batches == 0:
        return "It has no one-time cost: it saves time from the first batch on."
    return f"Preparing it and its first call cost {ms_words(once)} once, paid back after {_batches(batches)}."


def _batches(count: int) -> str:
    return f"{count:,} batch{'es' if count != 1 else ''} like this one"


def preparation_sentence(path: PathResult) -> str:
    """A path's fixed precision, time to prepare and memory for weights; empty where it runs on the model as it is."""
    parts = [f"computes in {path.dtype}"] if path_spec(path.name).precision else []
    if path.prepare_ms is not None and path.prepare_ms >= 1:
        parts.append(f"prepared in {ms_words(path.prepare_ms)}")
    if path.weights_mb:
        parts.append(f"{path.weights_mb:,.0f} MB of weights in addition to the model's")
    if path.prepare_note:
        parts.append(path.prepare_note.rstrip("."))
    words = ", ".join(parts)
    return f"{sentence_case(words)}." if words else ""


def recommendation_sentences(run: Run) -> tuple[str, ...]:
    """Which path to choose and why; empty where nothing was compared."""
    found = recommend(run)
    return () if found is None else choice_sentences(run, found)


def choice_sentences(run: Findings, found: Recommendation, where: str = HERE) -> tuple[str, ...]:
    """What a recommendation says: the path with the same answer, and one in lower precision where it is offered.

    Args:
        where: where it was measured, in words.
    """
    return tuple(filter(None, (_exact_words(run, found, where), _approximate_words(found))))


def _exact_words(run: Findings, found: Recommendation, where: str) -> str:
    baseline = path_noun(run.experiment.baseline)
    if found.exact is None and any(path.verdict == "not sure" for path in run.paths):
        return f"Stay with {baseline} until more is known: no path with the same answer is clearly faster so far."
    if found.exact is None:
        return f"Stay with {baseline}: no path with the same answer is clearly faster {where}."
    pick = found.exact
    equal = " and ".join(path_noun(name) for name in pick.as_fast)
    simpler = f" It is as fast as {equal}, and simpler." if equal else ""
    return (
        f"Choose {path_noun(pick.name)} for the same answer: {times_as_fast(pick.speedup)} as {baseline}"
        f"{_within(pick)}. Its outputs differ by at most {error_text(pick.max_abs_error)}{_rounding(pick)}."
        f"{_price(pick)}{simpler}"
    )


def _approximate_words(found: Recommendation) -> str:
    if found.approximate is None or found.gain is None:
        return ""
    pick = found.approximate
    further = f", {times_as_fast(found.gain)} as {path_noun(found.exact.name)}" if found.exact else ""
    return (
        f"If differences of up to {error_text(pick.max_abs_error)} in the hidden states are acceptable, choose "
        f"{path_noun(pick.name)}: {times_as_fast(pick.speedup)}{_within(pick)}{further}.{_price(pick)}"
    )


def _rounding(pick: Pick) -> str:
    """The limit for the same answer; empty where outputs are equal to the bit, and where the limit is not known."""
    if not pick.max_abs_error or not pick.error_share:
        return ""
    return f"; up to {error_text(pick.max_abs_error / pick.error_share)} counts as rounding"


def _within(pick: Pick) -> str:
    return f" ({interval_words(pick.speedup_ci95)})" if pick.speedup_ci95 else ""


def _price(pick: Pick) -> str:
    """What a pick costs: its one-time costs, and memory; empty, or sentences after a space."""
    words = ""
    if pick.break_even_batches:
        words += f" Its one-time costs are paid back after {_batches(pick.break_even_batches)}."
    if pick.weights_mb:
        words += f" It holds {pick.weights_mb:,.0f} MB of weights in addition to the model's."
    return words


def machine_sentence(run: Findings) -> str:
    """Where and with what a run was measured."""
    env = run.environment
    return (
        f"{env.device_name}, {env.threads} of {env.cores} threads, torch {env.torch}, "
        f"{run.experiment.dtype}; {run.rounds} rounds, {run.stop_reason}."
    )


def looks_sentence(run: Findings) -> str:
    """How often a run was continued, and how wide its intervals are for that; empty where it was not continued."""
    if run.looks == 1:
        return ""
    confidence = 100 * shared_confidence(1, run.looks)
    times = "once" if run.looks == 2 else f"{run.looks - 1} times"
    return f"Continued {times} after its result was seen, so its intervals are wider: each is at {confidence:.4g} %."


def more_words(more: More) -> str:
    """How many rounds or seconds can be added to a run, for a button."""
    if more.rounds is None:
        return f"{more.seconds:.0f} s more"
    rounds = "1 more round" if more.rounds == 1 else f"{more.rounds} more rounds"
    return f"{rounds}, about {duration_text(more.seconds)}"


def centre_sentences(run: Findings) -> tuple[str, ...]:
    """Why a speedup is not the ratio of the two medians shown beside it, for every path where they clearly differ."""
    baseline_ms = run.baseline.median_ms
    return tuple(
        f"{speedup_text(found.paired)} for {path_noun(found.name)} is the median of the rounds' ratios, not the ratio "
        f"of the medians ({ms_words(baseline_ms)} / {ms_words(found.median_ms)} = {speedup_text(found.of_medians)}). "
        "Times changed much from round to round; within one round both paths ran under the same conditions."
        for found in unlike_centres(run)
        if baseline_ms is not None
    )


def batch_sentence(lengths: tuple[int, ...], padding_ratio: float, truncated: tuple[int, ...]) -> str:
    """A tokenized batch in one sentence."""
    texts = "1 text" if len(lengths) == 1 else f"{len(lengths)} texts"
    cut = f" {len(truncated)} truncated to the longest length allowed." if truncated else ""
    return (
        f"{texts} of {min(lengths)} to {max(lengths)} tokens, {sum(lengths)} real tokens; "
        f"{padding_ratio:.0%} of the padded batch is padding.{cut}"
    )


def capacity_sentence(path: PathResult) -> str:
    """How many real tokens a path encodes in a second, and its working memory; empty where nothing was timed."""
    parts = [] if path.real_tokens_per_s is None else [f"{path.real_tokens_per_s:,.0f} real tokens a second"]
    if path.peak_memory_mb is not None:
        parts.append(f"{path.peak_memory_mb:,.0f} MB of working memory")
    return f"{sentence_case(', '.join(parts))}." if parts else ""


def percentile_words(path: PathResult, q: float) -> str:
    """A percentile of a path's latency in ms, or what it still needs."""
    if path.calls_per_sample > 1:
        return f"not known, because each sample is the mean of {path.calls_per_sample} calls"
    found = percentile(path.samples_ms, q)
    return f"needs {found.missing} more rounds" if found.value is None else f"{found.value:.1f} ms"


def latency_sentence(path: PathResult) -> str:
    """How well a path's median is known, and its 90th percentile."""
    interval = path.ci95_ms
    known = f"Median: {interval[0]:.1f} to {interval[1]:.1f} ms with 95 % confidence. " if interval else ""
    return f"{known}p90: {percentile_words(path, 0.9)}."
