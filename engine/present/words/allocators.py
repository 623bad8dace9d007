"""The memory allocator in sentences: which one a run had, its page faults, and both allocators side by side."""

from engine.allocator import allocator_words
from engine.analysis.allocators import AllocatorCost, BothAllocators
from engine.analysis.waterfall import MANY_PAGE_FAULTS
from engine.findings import Findings
from engine.present.words.runs import interval_words, path_noun, speedup_text
from engine.records import Allocator

LABELS: dict[Allocator, str] = {"kept": "kept", "system": "left to the system"}
HELP = (
    "Kept: memory that a forward frees stays in the process. "
    "Left to the system: the platform's allocator may give it back; then the next forward has page faults."
)


def memory_sentence(run: Findings) -> str:
    """Which allocator a run had."""
    return f"Memory: {allocator_words(run.environment)}."


def page_faults_sentence(run: Findings) -> str:
    """Page faults per forward of the paths that have many, and how to avoid them; empty where no path has many."""
    faulting = [path for path in run.paths if (path.page_faults or 0) >= MANY_PAGE_FAULTS]
    if not faulting:
        return ""
    counts = ", ".join(f"{path_noun(path.name)} {path.page_faults:,}" for path in faulting)
    advice = (
        ""
        if run.experiment.allocator == "kept"
        else " The allocator gives freed memory back to the system after each forward, and the next one pays for it. "
        "Measure with freed memory kept to avoid this."
    )
    return f"Page faults per forward: {counts}.{advice}"


def costs_sentence(both: BothAllocators) -> str:
    """How much longer each path takes under the platform's allocator, the largest difference first."""
    if not both.costs:
        return "No path was measured under both allocators."
    if both.note:
        return f"Not sure what the allocator costs: {both.note}. Measure again when the machine is quiet."
    ordered = sorted(both.costs, key=lambda cost: -abs(cost.ratio - 1))
    clauses = [_clause(cost) for cost in ordered if cost.word in ("costs", "saves")]
    same = [path_noun(cost.name) for cost in ordered if cost.word == "same"]
    unsure = [path_noun(cost.name) for cost in ordered if cost.word == "not sure"]
    if same:
        clauses.append(f"{' and '.join(same)} {'takes' if len(same) == 1 else 'take'} as long")
    if unsure:
        clauses.append(f"not sure for {' and '.join(unsure)}")
    return f"Under the system's allocator {'; '.join(clauses)}."


def _clause(cost: AllocatorCost) -> str:
    longer = f"takes {speedup_text(cost.ratio)} as long ({interval_words(cost.ci95)})"
    return f"{path_noun(cost.name)} {longer}: {cost.system_ms:.1f} instead of {cost.kept_ms:.1f} ms"
