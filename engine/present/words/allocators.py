"""The allocator in sentences: what it was in a run, what fetching memory costs, and both allocators side by side."""

from engine.allocator import KEPT, allocator_words
from engine.analysis.allocators import AllocatorCost, BothAllocators
from engine.analysis.waterfall import MANY_PAGE_FAULTS
from engine.present.words.runs import interval_words, path_noun, speedup_text
from engine.records import Allocator, Run

LABELS: dict[Allocator, str] = {"kept": "kept", "system": "system's own"}
HELP = (
    "Kept: memory that a forward frees stays in the process, as in a server that runs for long. "
    "System's own: the platform's allocator may give it back, and the next forward fetches it again."
)


def memory_sentence(run: Run) -> str:
    """Which allocator a run had."""
    return f"Memory: {allocator_words(run.environment)}."


def page_faults_sentence(run: Run) -> str:
    """Which paths fetch memory from the system in every forward, and the cure; empty where none does."""
    fetching = [path for path in run.paths if (path.page_faults or 0) >= MANY_PAGE_FAULTS]
    if not fetching:
        return ""
    told = ", ".join(f"{path_noun(path.name)} {path.page_faults:,}" for path in fetching)
    cure = (
        ""
        if allocator_words(run.environment).startswith(KEPT)
        else " The allocator gave them back after the forward before: measure with freed memory kept to see the paths "
        "without that."
    )
    return f"Pages of memory fetched from the system in every forward: {told}.{cure}"


def costs_sentence(both: BothAllocators) -> str:
    """What the platform's allocator costs each path, the largest difference first."""
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
