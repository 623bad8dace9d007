"""The waterfall: bars add up to the measured difference, with any profile."""

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.groups import GROUPS
from engine.analysis.waterfall import measured_groups, waterfall
from engine.records import PathResult, Profile
from tests.samples import sample_path

times = st.floats(1e-3, 1e4)


def _path(name: str, median_ms: float, groups: dict[str, float]) -> PathResult:
    profile = Profile(iterations=1, overhead=1.0, ops=(), groups=groups)
    return sample_path(name, (median_ms,), 0).model_copy(update={"median_ms": median_ms, "profile": profile})


groups = st.dictionaries(st.sampled_from(GROUPS), times, min_size=1)


@given(times, times, groups, groups)
def test_bars_add_up_to_the_measured_difference(
    slow_ms: float, fast_ms: float, slow: dict[str, float], fast: dict[str, float]
) -> None:
    bars = waterfall(_path("slow", slow_ms, slow), _path("fast-nested", fast_ms, fast))
    assert fsum(bar.change_ms for bar in bars) == pytest.approx(fast_ms - slow_ms, abs=1e-9)
    assert fsum(bar.baseline_ms for bar in bars) == pytest.approx(slow_ms, abs=1e-9)


def test_groups_keep_their_proportions() -> None:
    scaled = measured_groups(_path("slow", 100.0, {"linear": 3.0, "attention": 1.0}))
    assert (scaled["linear"], scaled["attention"]) == pytest.approx((75.0, 25.0))


def test_a_path_without_a_profile_is_told() -> None:
    path = _path("slow", 1.0, {"linear": 1.0}).model_copy(update={"profile": None})
    with pytest.raises(ValueError, match="slow was not profiled"):
        measured_groups(path)


def test_memory_that_the_profiler_kept_is_a_group_of_its_own() -> None:
    path = _path("fast-nested", 80.0, {"linear": 40.0})
    assert path.profile is not None
    faster = path.profile.model_copy(update={"overhead": 0.625})
    fetching = path.model_copy(update={"profile": faster, "page_faults": 23_000})
    assert measured_groups(fetching)["fetching memory"] == pytest.approx(30.0)
    assert measured_groups(fetching)["linear"] == pytest.approx(50.0)
    calm = fetching.model_copy(update={"page_faults": 10})
    assert measured_groups(calm)["linear"] == pytest.approx(80.0)


def test_a_path_that_torchs_profiler_cannot_see_is_all_other() -> None:
    assert {group: ms for group, ms in measured_groups(_path("onnxruntime", 8.0, {})).items() if ms} == {
        "other": 8.0
    }
