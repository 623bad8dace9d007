"""The table of runs for other programs: one row a run and path, typed columns, no texts."""

from io import BytesIO

import pandas as pd
import pytest

from engine.analysis.conclude import concluded
from engine.present.reports.collection import About, KeptRun
from engine.present.reports.runs_table import COLUMNS, runs_frame, runs_parquet
from tests.samples import TEXTS, a_run_with_costs, sample_run

RUN = concluded(sample_run())
KEPT = (
    KeptRun(run=RUN, about=About(title="mine", tags=("a", "b"), note="why")),
    KeptRun(run=a_run_with_costs().model_copy(update={"id": "costs"})),
)


def test_a_parquet_file_has_a_row_for_each_run_and_path() -> None:
    frame = pd.read_parquet(BytesIO(runs_parquet(KEPT)))
    assert list(frame.columns) == list(COLUMNS)
    assert list(zip(frame.run_id, frame.path, strict=True)) == [
        (kept.run.id, path.name) for kept in KEPT for path in kept.run.paths
    ]
    fast = frame.iloc[1]
    assert (fast.path, fast.speedup, fast.median_ms, fast.verdict) == ("fast-nested", 2.0, 5.0, "faster")
    assert (fast.title, fast.tags, fast.note) == ("mine", "a, b", "why")
    assert fast.measured_at == pd.Timestamp(RUN.created_at)
    assert (fast.padding_ratio, fast.real_tokens) == (pytest.approx(1 / 6), 10)
    assert pd.isna(fast.weights_mb)
    assert frame.iloc[2].title == a_run_with_costs().title


def test_the_texts_stay_here() -> None:
    assert not any(text.encode() in runs_parquet(KEPT) for text in TEXTS)


def test_a_columns_type_does_not_depend_on_the_rows() -> None:
    failed = RUN.paths[1].model_copy(
        update={
            "status": "failed",
            "samples_ms": (),
            "median_ms": None,
            "ci95_ms": None,
            "speedup": None,
            "speedup_ci95": None,
            "verdict": None,
            "agreement": None,
            "evidence": None,
        }
    )
    poor = KeptRun(run=RUN.model_copy(update={"paths": (RUN.paths[0], failed)}))
    assert runs_frame([poor]).dtypes.equals(runs_frame(KEPT).dtypes)
    assert runs_frame([]).dtypes.equals(runs_frame(KEPT).dtypes)
    assert len(pd.read_parquet(BytesIO(runs_parquet([])))) == 0
