"""The tutorial's six runs in its own order, and what its three traps do to them."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from engine.catalog.operators import DROPOUT_DRAW, NESTED_CONVERSION
from engine.present.terminal.runs import (
    batch_words,
    conditions_words,
    notes,
    operators_table,
    paths_table,
    steps_table,
)
from engine.present.words.runs import evidence_words, times_as_fast, verdict_sentence
from engine.records import Run

TUTORIAL_ITERATIONS = 10
TUTORIAL_RUNS: Sequence[tuple[str, str, str]] = (
    ("2.1 slow path, CPU", "slow-train", "fresh from get_model(), so in train mode: gradients and dropout"),
    ("2.1 fastpath, CPU", "fast-nested", "model.eval() and no_grad(); said to be native MHA only"),
    (
        "2.2 slow path, DEVICE",
        "slow-grad",
        "after enable_nested_tensor = False; eval mode by now, gradients on",
    ),
    (
        "2.2 fastpath, DEVICE",
        "tutorial-mha",
        "after enable_nested_tensor = False; said to be native MHA only",
    ),
    ("2.3 slow path, DEVICE", "slow-grad", "after enable_nested_tensor = True"),
    ("2.3 fastpath, DEVICE", "fast-nested", "after enable_nested_tensor = True; native MHA + sparsity"),
)


def tutorial_report(run: Run, on_cpu: Run) -> RenderableType:
    """The six runs in the tutorial's order with their tables, then the three traps.

    Args:
        run: all paths of the group "tutorial" on DEVICE.
        on_cpu: the same on the CPU, for section 2.1; the same run where DEVICE is the CPU.
    """
    return Group(
        Text(run.title, style="bold"),
        Text(batch_words(run)),
        *(_tutorial_run(on_cpu if entry[0].endswith("CPU") else run, *entry) for entry in TUTORIAL_RUNS),
        Text("What the tutorial's three traps do to these runs", style="bold"),
        *(Text(f"{number}. {trap}\n") for number, trap in enumerate(tutorial_traps(run), start=1)),
        paths_table(run),
        *(Text(note) for note in notes(run)),
        steps_table(run),
        Text(conditions_words(run), style="dim"),
        Text(verdict_sentence(run), style="bold"),
    )


def tutorial_traps(run: Run) -> Iterator[str]:
    """What each trap does to this run, in figures."""
    really_off, by_tutorial = run.path("fast-mha"), run.path("tutorial-mha")
    nested = run.path("fast-nested")
    if by_tutorial.evidence and by_tutorial.median_ms and really_off.median_ms and nested.median_ms:
        conversions = by_tutorial.evidence.ops[NESTED_CONVERSION]
        yield (
            "layers.enable_nested_tensor = False does nothing: forward() reads use_nested_tensor, which __init__ has "
            f"set. The profile of the tutorial's 'MHA only' run counts {conversions:g} nested conversion per forward "
            f"and takes {by_tutorial.median_ms:.1f} ms, like sparsity ({nested.median_ms:.1f} ms); with sparsity "
            f"really off it takes {really_off.median_ms:.1f} ms."
        )
    train, slow = run.path("slow-train"), run.path("slow")
    if train.profile and train.median_ms and slow.median_ms and nested.median_ms:
        drawn = sum(op.share for op in train.profile.ops if op.name == DROPOUT_DRAW)
        yield (
            "The first slow run is in train mode: gradients are recorded and dropout is drawn (bernoulli_ alone is "
            f"{drawn:.0%} of it). It takes {train.median_ms:.1f} ms where the fair slow path takes "
            f"{slow.median_ms:.1f} ms, so a fastpath that is {times_as_fast(slow.median_ms / nested.median_ms)} looks "
            f"{times_as_fast(train.median_ms / nested.median_ms)}."
        )
    yield (
        "print(prof) lists the first 100 events in order of time, not the operators that cost most; the tables "
        "here are key_averages(), summed per operator. profile(use_cuda=...) is gone from torch 2.15: torch.profiler "
        "is used here."
    )


def _tutorial_run(run: Run, heading: str, name: str, condition: str) -> RenderableType:
    path = run.path(name)
    title = f"{heading}: {condition}"
    if path.median_ms is None:
        return Text(f"{title}: {path.reason}")
    return operators_table(path, f"{title}\n{path.median_ms:.1f} ms per forward; {evidence_words(path)}")
