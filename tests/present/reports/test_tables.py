"""The tables for other programs contain every operator and every sample, with their units."""

import csv
from io import BytesIO, StringIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.present.reports.tables import COLUMNS, NOISE_FLOOR, TABLES, TableName, table_csv, table_parquet
from engine.records import Run
from tests.samples import a_run_with_costs, an_eight_path_run


@pytest.fixture(scope="module")
def runs() -> tuple[Run, Run]:
    return an_eight_path_run(), a_run_with_costs()


def test_the_csv_has_every_operator_of_every_path_of_every_run(runs: tuple[Run, ...]) -> None:
    rows = list(csv.DictReader(StringIO(table_csv(runs, "operators"))))
    expected = [
        (run.id, path.name, op.name, op.self_ms)
        for run in runs
        for path in run.paths
        for op in (path.profile.ops if path.profile else ())
    ]
    assert tuple(rows[0]) == tuple(column.name for column in COLUMNS["operators"])
    found = [(row["run"], row["path"], row["operator"], float(row["profiler_self_ms"])) for row in rows]
    assert found == expected


def test_the_csv_has_every_sample_and_the_order_of_the_rounds(runs: tuple[Run, ...]) -> None:
    run = runs[1]
    rows = list(csv.DictReader(StringIO(table_csv((run,), "rounds"))))
    assert len(rows) == run.rounds * (len(run.paths) + 1)
    first = {row["path"]: row for row in rows if row["round"] == "1"}
    assert float(first["packed"]["measured_ms"]) == run.path("packed").samples_ms[0]
    assert float(first["packed"]["speedup_in_round"]) == 2.5
    assert [first[name]["place_in_round"] for name in run.order[0]] == ["1", "2", "3"]
    assert first["packed"]["place_in_round"] == "", "the sample's order does not name it"
    assert float(first[NOISE_FLOOR]["speedup_in_round"]) == 1.0


@pytest.mark.parametrize("table", TABLES)
def test_a_time_says_in_its_name_its_unit_and_whether_a_profiler_ran(table: TableName) -> None:
    for column in COLUMNS[table]:
        if column.unit == "ms":
            assert column.name.endswith("_ms")
            assert column.name.startswith("profiler_") is ("profiler time" in column.note)


@pytest.mark.parametrize("table", TABLES)
def test_parquet_has_the_same_rows_and_says_what_its_columns_are(
    table: TableName, runs: tuple[Run, ...]
) -> None:
    found = pq.read_table(BytesIO(table_parquet(runs, table)))
    rows = list(csv.reader(StringIO(table_csv(runs, table))))
    assert found.num_rows == len(rows) - 1
    assert [field.name for field in found.schema] == rows[0]
    for field, column in zip(found.schema, COLUMNS[table], strict=True):
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"note"].decode() == column.note
    assert b"Fastpath Lab" in found.schema.metadata[b"source"]
    times = [field for field in found.schema if field.name.endswith("_ms")]
    assert times
    assert all(field.type == pa.float64() for field in times)
