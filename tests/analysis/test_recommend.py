"""The recommendation: fast, right, proved, and as simple as possible."""

from typing import Any

import pytest

from engine.analysis.conclude import concluded
from engine.analysis.recommend import compared_paths, fastest_path, recommend, recommended_path
from engine.catalog.paths import path_spec
from engine.records import Agreement, Evidence, PathResult, Run
from tests.samples import sample_path, sample_run

RIGHT = Agreement(max_abs_error=2e-6, tolerance=1e-5, ok=True)


def _path(name: str, ms: float, **facts: Any) -> PathResult:
    base: dict[str, Any] = {"agreement": RIGHT, "prepare_ms": 0.0, "weights_mb": 0.0}
    if precision := path_spec(name).precision:
        base |= {
            "dtype": precision,
            "agreement": Agreement(max_abs_error=0.01, tolerance=0.2, ok=True),
        }
    return sample_path(name, (ms,) * 8, 0).model_copy(update=base | facts)


def _run(*paths: PathResult) -> Run:
    run = sample_run()
    slow = sample_path("slow", (10.0,) * 8, 0)
    names = ("slow", *(path.name for path in paths))
    experiment = run.experiment.model_copy(update={"paths": names})
    return concluded(run.model_copy(update={"paths": (slow, *paths), "experiment": experiment}))


def _picks(*paths: PathResult) -> tuple[str | None, str | None]:
    found = recommend(_run(*paths))
    assert found is not None
    return found.exact and found.exact.name, found.approximate and found.approximate.name


def test_the_fastest_with_the_same_answer_is_picked_with_its_facts() -> None:
    paths = (_path("fast-nested", 5.0), _path("packed", 4.0, prepare_ms=26.0, weights_mb=43.0))
    found = recommend(_run(*paths))
    assert found is not None
    assert found.exact is not None
    assert found.approximate is None
    assert (found.exact.name, found.exact.speedup) == ("packed", 2.5)
    assert found.exact.error_share == pytest.approx(0.2)
    assert found.exact.weights_mb == 43.0
    assert found.exact.break_even_batches == 9, "26 + 30 - 4 ms once, 6 ms saved a batch"


@pytest.mark.parametrize(
    "untrusted",
    [
        {"agreement": Agreement(max_abs_error=1.0, tolerance=1e-5, ok=False)},
        {"agreement": None},
        {"evidence": Evidence(claim="fused", ops={}, ok=False)},
        {"status": "failed"},
    ],
)
def test_what_is_wrong_refuted_or_unseen_is_never_picked(untrusted: dict[str, Any]) -> None:
    assert _picks(_path("fast-nested", 5.0), _path("packed", 1.0, **untrusted)) == ("fast-nested", None)


def test_the_tutorials_unfair_paths_are_never_picked() -> None:
    assert _picks(_path("slow-train", 1.0), _path("slow-grad", 1.0)) == (None, None)


def test_where_nothing_is_faster_the_baseline_stays() -> None:
    assert _picks(_path("fast-nested", 10.0), _path("packed", 20.0)) == (None, None)
    assert recommend(_run()) is None, "nothing was compared"


def test_of_two_that_cannot_be_told_apart_the_simpler_one_wins() -> None:
    assert _picks(_path("packed", 4.0), _path("fast-nested", 4.05)) == ("fast-nested", None)
    assert _picks(_path("packed", 4.0), _path("fast-nested", 4.5)) == ("packed", None)
    found = recommend(_run(_path("onnxruntime", 4.0), _path("packed", 4.05)))
    assert found is not None
    assert found.exact is not None
    assert found.exact.as_fast == ("onnxruntime",)


def test_a_lower_precision_is_offered_where_it_is_a_tenth_faster() -> None:
    assert _picks(_path("packed", 4.0), _path("packed@bf16", 2.0)) == ("packed", "packed@bf16")
    assert _picks(_path("packed", 4.0), _path("packed@bf16", 3.8)) == ("packed", None)
    assert _picks(_path("packed@bf16", 4.0)) == (None, "packed@bf16")


def test_a_variant_is_less_simple_than_its_base_and_simpler_than_the_next_path() -> None:
    half = {"dtype": "fp32", "agreement": RIGHT}  # as exact as its base, so only simplicity decides
    assert _picks(_path("packed@bf16", 4.0, **half), _path("packed", 4.05)) == ("packed", None)
    assert _picks(_path("packed@bf16", 4.05, **half), _path("compile", 4.0)) == ("packed@bf16", None)


def test_the_fastest_path_is_the_same_for_everybody_who_asks() -> None:
    """Even if it may not be recommended; the baseline is left out."""
    run = _run(_path("fast-nested", 5.0), _path("onnxruntime", 4.0, profile=None), _path("packed", 20.0))
    assert [path.name for path in compared_paths(run)] == ["onnxruntime", "fast-nested", "packed"]
    assert fastest_path(run) == run.path("onnxruntime")
    assert fastest_path(run, profiled=True) == run.path("fast-nested")
    assert fastest_path(_run()) is None


def test_the_recommended_path_is_the_pick_or_the_baseline() -> None:
    assert recommended_path(_run(_path("packed", 4.0))) == "packed"
    assert recommended_path(_run(_path("packed", 20.0))) == recommended_path(_run()) == "slow"
