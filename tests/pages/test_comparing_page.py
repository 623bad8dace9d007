"""The Compare page: runs by address, by select boxes and from files; what differs first; links that keep the choice."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from engine.analysis.compare import compare_runs
from engine.catalog.batches import PRESETS
from engine.present.reports.collection import About, collection_json
from engine.present.words.comparisons import headline
from engine.records import Run
from engine.store import store as store_module
from engine.store.opening import FILE_NAME
from engine.store.store import Store
from pages.kit import nav
from pages.kit.comparing import ids_in, stored_ids, with_reference
from pages.kit.markdown import as_text
from tests.comparisons import elsewhere, noisy_run, with_environment, with_experiment, with_threads
from tests.pages.test_app import SAMPLE, words

STEADY = noisy_run()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    kept = Store(f"sqlite:///{tmp_path / FILE_NAME}")
    monkeypatch.setitem(sys.__dict__, store_module._ANCHOR, kept)
    return kept


def a_run(run_id: str, age: timedelta = timedelta(0), run: Run = STEADY) -> Run:
    return run.model_copy(update={"id": run_id, "created_at": datetime.now(UTC) - age})


def faster(run: Run) -> Run:
    """The run with every path but the baseline twice as fast."""
    paths = [
        path
        if path.name == "slow"
        else path.model_copy(
            update={
                "samples_ms": tuple(ms / 2 for ms in path.samples_ms),
                "median_ms": (path.median_ms or 0) / 2,
            }
        )
        for path in run.paths
    ]
    return run.model_copy(update={"paths": tuple(paths)})


def compare(app: AppTest, *ids: str) -> AppTest:
    if ids:
        app.query_params["runs"] = ",".join(ids)
    app.switch_page(nav.COMPARE).run()
    assert not app.exception
    assert app.title[0].value == "Compare"
    return app


def test_without_runs_the_page_says_what_to_do(app: AppTest) -> None:
    assert "Choose a reference" in words(compare(app).markdown)
    assert "There are no stored runs yet" in words(app.markdown)


def test_an_address_opens_a_comparison_and_what_differs_is_said(app: AppTest, store: Store) -> None:
    before, after = a_run("one"), with_threads(faster(a_run("two")), 8)
    store.save(before)
    store.save(after)
    compare(app, "one", "two")
    assert app.success[0].value == as_text(headline(compare_runs((before, after))))
    shown = words(app.markdown)
    assert as_text("Experiment: Threads 2 -> 8.") in shown
    assert as_text("Machine and build: The runs are of the same machine and build.") in shown
    assert shown.index("Experiment") < shown.index("Machine and build") < shown.index("State of the machine")
    assert app.selectbox(key="compare_reference").value == "one"
    assert app.multiselect(key="compare_others").value == ["two"]
    table = app.dataframe[0].value
    assert list(table["verdict"]) == ["same", "improved"]
    assert [app.get_by_key(f"compare_download_{kind}").label for kind in ("md", "json")] == [
        "Table (.md)",
        "Comparison (.json)",
    ]


def test_swapping_turns_the_comparison_round_and_the_address_follows(app: AppTest, store: Store) -> None:
    store.save(a_run("one"))
    store.save(faster(a_run("two")))
    compare(app, "one", "two").button(key="compare_swap").click().run()
    assert not app.exception
    assert app.query_params["runs"] == "two,one"
    assert app.warning[0].value.startswith("Native MHA")
    assert "regressed" in app.warning[0].value


def test_runs_are_chosen_by_select_boxes_and_the_address_keeps_the_choice(app: AppTest, store: Store) -> None:
    for number in range(3):
        store.save(a_run(f"run{number}", timedelta(minutes=number)))
    compare(app)
    reference = app.selectbox(key="compare_reference")
    assert [option.rpartition(", ")[2] for option in reference.options] == ["run0", "run1", "run2"]
    reference.select("run1").run()
    assert app.query_params["runs"] == "run1"
    assert "two paths of this run" in words(app.markdown)
    app.multiselect(key="compare_others").select("run0").select("run2").run()
    assert not app.exception
    assert app.query_params["runs"] == "run1,run0,run2"
    assert words(app.success).count("against A") == 2
    app.selectbox(key="compare_reference").select("run2").run()
    assert app.query_params["runs"] == "run2,run0,run1"


def test_ids_that_are_not_there_get_a_sentence_and_the_others_are_compared(
    app: AppTest, store: Store
) -> None:
    store.save(a_run("one"))
    store.save(a_run("two"))
    store.save(a_run("gone"))
    store.delete(["gone"])
    compare(app, "one", "gone", "no_such", "two")
    assert [part.value for part in app.warning] == [
        as_text(f"This server has no run {key}: it was deleted, or it is on another server.")
        for key in ("gone", "no_such")
    ]
    assert len(app.dataframe[0].value) == 2


def test_a_damaged_run_gets_a_sentence(app: AppTest, store: Store, tmp_path: Path) -> None:
    import sqlite3

    store.save(a_run("one"))
    store.save(a_run("bad"))
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE runs SET json = '{' WHERE id = 'bad'")
    compare(app, "one", "bad")
    assert as_text("Run bad: The stored run is damaged") in app.error[0].value
    assert "two paths of this run" in words(app.markdown)


def test_an_uploaded_run_is_compared_without_being_stored(app: AppTest, store: Store) -> None:
    store.save(a_run("one"))
    data = faster(a_run("mine")).model_dump_json().encode()
    compare(app, "one").file_uploader(key="compare_upload").upload("mine.json", data).run()
    assert not app.exception
    assert "from a file" in words(app.markdown)
    assert "improved" in app.success[0].value
    assert app.query_params["runs"] == "one"
    assert "stay in this session" in words(app.caption)
    assert store.get("mine") is None


def test_a_file_that_is_no_run_gets_a_sentence_with_its_name(app: AppTest) -> None:
    compare(app).file_uploader(key="compare_upload").upload("odd_name.json", b"{}").run()
    assert not app.exception
    assert app.error[0].value.startswith(as_text("odd_name.json holds no runs"))
    app.file_uploader(key="compare_upload").upload("odd_name.json", b'{"schema_version": 1}').run()
    assert app.error[0].value.startswith(as_text("odd_name.json: This run cannot be used"))


def test_runs_that_were_exported_together_are_compared(app: AppTest) -> None:
    runs = [a_run("mine"), faster(a_run("yours"))]
    data = collection_json((About(), run.model_dump_json()) for run in runs).encode()
    compare(app).file_uploader(key="compare_upload").upload("both.json", data).run()
    assert not app.exception
    assert "improved" in app.success[0].value


def test_across_machines_there_are_no_milliseconds_and_no_judging_by_time(app: AppTest, store: Store) -> None:
    store.save(with_environment(a_run("one"), machine="host"))
    store.save(elsewhere(a_run("two")))
    compare(app, "one", "two")
    assert "Times of different machines are not compared" in words(app.markdown)
    table = app.dataframe[0].value
    assert list(table.columns) == ["path", "before", "after", "change", "95 % interval", "verdict"]
    assert [group.key for group in app.button_group if group.key == "compare_basis"] == []
    texts = (app.markdown, app.caption, app.success, app.info, app.warning)
    assert not any(" ms" in words(elements) for elements in texts)
    assert "of the time of the slow path" in words(app.caption)


def test_judged_by_time_every_path_is_in_the_table(app: AppTest, store: Store) -> None:
    store.save(a_run("one"))
    store.save(with_threads(faster(a_run("two")), 8))
    app.query_params["compare_basis"] = "Time"
    table = compare(app, "one", "two").dataframe[0].value
    assert table["before"].str.endswith(" ms").all()
    assert len(table) == 2


def test_an_address_with_odd_choices_opens_all_the_same(app: AppTest, store: Store) -> None:
    store.save(a_run("one"))
    store.save(a_run("two"))
    for name, value in {"basis": "luck", "path": "no-such", "kind": "odd", "other": "Z"}.items():
        app.query_params[f"compare_{name}"] = value
    compare(app, "one", "two")
    assert len(app.dataframe[0].value) == 2


def test_hosted_a_run_of_a_visitors_texts_opens_by_its_id_and_is_not_offered(
    app: AppTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPATH_HOSTED", "1")
    secret = SAMPLE.experiment.batch.model_copy(update={"texts": ("my secret",), "lengths": (4,)})
    store.save(a_run("own", run=with_experiment(SAMPLE, batch=secret)))
    store.save(a_run("preset", run=with_experiment(SAMPLE, batch=PRESETS["mixed"])))
    assert len(compare(app).selectbox(key="compare_reference").options) == 1
    compare(app, "preset", "own")
    assert len(app.dataframe[0].value) == 3
    assert "my secret" not in words(app.markdown)


def test_the_ids_of_an_address_are_read_with_care() -> None:
    assert ids_in(" a,,b , a,") == ("a", "b")
    assert ids_in("a,b,c,d,e,f,g") == ("a", "b", "c", "d", "e", "f")
    assert ids_in("") == ()


def test_another_reference_changes_places_with_the_old_one() -> None:
    assert with_reference(("a", "b", "c"), "c") == ("c", "b", "a")
    assert with_reference(("a", "b"), "x") == ("x", "b")
    assert with_reference(("a", "b"), "a") == ("a", "b")
    assert stored_ids(("a", "file-1", "b")) == "a,b"
