"""Exported runs come back as they were, with what was written about them; bad ones end in a sentence each."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.conclude import concluded
from engine.present.reports import collection
from engine.present.reports.collection import About, KeptRun, collection_json, read_runs
from tests.samples import a_run_with_costs, sample_run
from tests.test_damaged_runs import mutated

RUN = concluded(sample_run())
OTHER = a_run_with_costs().model_copy(update={"id": "another-run"})
ABOUT = About(title="mine", tags=("paper", "größe"), note='two\nlines and "quotes"')


def a_collection(*entries: object, **changes: object) -> bytes:
    return json.dumps({"collection_version": 1, "left_out": 0, "runs": entries, **changes}).encode()


def an_entry(**changes: object) -> dict[str, Any]:
    return {"run": {**json.loads(RUN.model_dump_json()), **changes}}


def test_exported_runs_come_back_as_they_were() -> None:
    text = collection_json([(ABOUT, RUN.model_dump_json()), (About(), OTHER.model_dump_json(indent=1))])
    collected = read_runs(text.encode(), "runs.json")
    assert collected.runs == (KeptRun(run=RUN, about=ABOUT), KeptRun(run=OTHER))
    assert collected.refused == ()


def test_the_json_of_one_run_is_read_too() -> None:
    collected = read_runs(b"\xef\xbb\xbf" + RUN.model_dump_json(indent=1).encode(), "run.json")
    assert (collected.runs, collected.refused) == ((KeptRun(run=RUN),), ())


def test_a_damaged_text_is_left_out_of_the_file_and_counted() -> None:
    text = collection_json([(About(), "{"), (About(), RUN.model_dump_json())])
    collected = read_runs(text.encode(), "runs.json")
    assert [kept.run for kept in collected.runs] == [RUN]
    assert collected.refused == ("runs.json lacks 1 damaged run, left out when it was exported.",)


def test_a_run_of_a_newer_version_is_exported_as_it_is_stored() -> None:
    newer = '{"schema_version": 2, "new": 1.50}'
    assert newer in collection_json([(About(), newer)])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not valid JSON"),
        (b"\x80\x04K\x01.", "not valid JSON"),  # a pickle
        (b"\xff\xfe{\x00}\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "holds no runs"),
        (b"{}", "holds no runs"),
        (b'"collection_version"', "holds no runs"),
        (b'{"schema_version": 1}', "cannot be used: id: Field required"),
        (b'{"schema_version": 2}', "cannot be used"),
        (a_collection(), "a collection without runs"),
        (a_collection(runs=7), "a collection without runs"),
        (a_collection(an_entry(), collection_version=2), "another version"),
        (a_collection(*([0] * (collection.MOST_RUNS + 1))), "501 runs, more than the 500"),
    ],
)
def test_a_file_that_is_no_export_is_refused_in_one_sentence(data: bytes, sentence: str) -> None:
    collected = read_runs(data, "the file.json")
    assert collected.runs == ()
    assert len(collected.refused) == 1
    assert collected.refused[0].startswith("the file.json")
    assert sentence in collected.refused[0]
    assert len(collected.refused[0]) < 300


def test_a_file_that_is_too_large_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "MOST_MB", 0)
    assert "larger than 0 MB" in read_runs(a_collection(an_entry()), "big.json").refused[0]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (7, "no run in this place"),
        ({"about": {}}, "no run in this place"),
        (an_entry(rounds=9), "but 9 rounds"),
        (an_entry(noise_floor={"samples_ms": [float("nan")] * 8}), "noise_floor.samples_ms.0"),
        (an_entry(rounds="eight"), "rounds"),
        (an_entry(schema_version=2), "schema_version"),
        (an_entry(unknown=1), "unknown"),
        (an_entry(id=""), "its id must be"),
        (an_entry(id="x" * 65), "its id must be"),
        (an_entry(id="../../etc"), "its id must be"),
        (an_entry(id="a&run=b"), "its id must be"),
        (an_entry(created_at="2026-11-23T00:00:00"), "no time zone"),
        (an_entry(created_at="9999-12-31T23:59:59Z"), "outside 1970 to 2200"),
        ({**an_entry(), "about": {"tags": "paper"}}, "tags"),
        ({**an_entry(), "about": {"title": "x" * 1001}}, "title"),
        ({**an_entry(), "about": None}, "title, tags or note cannot be used"),
    ],
)
def test_a_bad_run_is_refused_by_itself_and_the_others_are_kept(entry: object, sentence: str) -> None:
    good = {"run": json.loads(OTHER.model_dump_json())}
    collected = read_runs(a_collection(good, entry), "runs.json")
    assert [kept.run for kept in collected.runs] == [OTHER]
    assert len(collected.refused) == 1
    assert collected.refused[0].startswith("runs.json, run 2: ")
    assert sentence in collected.refused[0]


def test_numbers_out_of_all_proportion_are_refused() -> None:
    environment = {**json.loads(RUN.environment.model_dump_json()), "threads": 10**30}
    collected = read_runs(a_collection(an_entry(environment=environment)), "runs.json")
    assert collected.runs == ()


def test_a_name_that_is_markdown_is_not_taken_for_a_paths_name() -> None:
    text = RUN.model_dump_json().replace('"fast-nested"', '"![x](https://example.org/x)"')
    assert "cannot be the name of a path" in read_runs(text.encode(), "run.json").refused[0]


def test_the_second_copy_of_a_run_in_one_file_is_reported() -> None:
    collected = read_runs(a_collection(an_entry(), an_entry(title="again")), "runs.json")
    assert [kept.run for kept in collected.runs] == [RUN]
    assert "run 2: This run is in the file twice" in collected.refused[0]


@given(text=mutated())
def test_no_damage_makes_reading_raise(text: str) -> None:
    collected = read_runs(text.encode(), "run.json")
    assert len(collected.runs) + len(collected.refused) == 1
    read_runs(f'{{"collection_version": 1, "runs": [{{"run": {text}}}, {text}]}}'.encode(), "runs.json")


@given(data=st.binary(max_size=200))
def test_no_bytes_make_reading_raise(data: bytes) -> None:
    assert len(read_runs(data, "x.json").refused) == 1
