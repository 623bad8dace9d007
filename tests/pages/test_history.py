"""The History page lists, finds and opens runs, and the address says what it shows."""

from datetime import UTC, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from streamlit.testing.v1 import AppTest

from engine.analysis.recommend import fastest_path
from engine.catalog.batches import PRESETS
from engine.present.charts.runs import chart_label
from engine.present.words.runs import verdict_sentence
from engine.store.opening import FILE_NAME
from engine.store.queries import RunFilter, RunRow
from engine.store.store import Store
from pages.kit.history import when_and_where
from pages.kit.history_filters import narrowing_words
from pages.kit.history_list import DAMAGED, runs_table
from tests.pages.on_history import (
    NOW,
    a_run,
    damage,
    history,
    listed,
    opened,
    select,
    store_named,
)
from tests.pages.test_app import SAMPLE, words

pytestmark = pytest.mark.usefixtures("store")


def test_without_runs_the_page_says_how_to_get_one(app: AppTest) -> None:
    assert "There are no runs yet" in words(history(app).markdown)


def test_runs_are_listed_with_answer_time_and_machine(app: AppTest, store: Store) -> None:
    machine = SAMPLE.environment.model_copy(update={"machine": "lab_1"})
    store.save(a_run("old", timedelta(hours=3), title="another *title*"))
    store.save(a_run("new", timedelta(minutes=3), environment=machine))
    row = history(app).dataframe[0].value.iloc[0]
    best = fastest_path(SAMPLE)
    assert best is not None
    assert listed(app) == [SAMPLE.title, "another *title*"]
    assert row["Fastest path"] == chart_label(best.name)
    assert list(row["Answer"]) == ["faster (1.21x)"]
    assert "3 minutes ago" in row["Measured"]
    assert row["Machine"] == "lab_1"
    assert "2 runs" in words(app.markdown)


def test_a_column_that_says_nothing_is_left_out() -> None:
    alike = [RunRow(id="a", title="t", machine="lab"), RunRow(id="b", machine="lab")]
    assert list(runs_table(alike, NOW, UTC).columns) == [*("Run", "Answer", "Fastest path", "Measured")]
    other = RunRow(id="c", machine="other", tags=("x",), deleted_at=NOW - timedelta(hours=2))
    table = runs_table([*alike, other], NOW, UTC)
    assert list(table.columns)[4:] == ["Machine", "Tags", "Deleted"]
    assert list(table["Run"]) == ["t", DAMAGED, DAMAGED]
    assert table["Deleted"][2] == "2 hours ago"


def test_a_run_opens_as_on_the_benchmark_page_and_closes_again(app: AppTest, store: Store) -> None:
    store.save(a_run("it"))
    opened(app, "it")
    assert app.success[0].value == verdict_sentence(SAMPLE)
    assert [part.value for part in app.subheader][1:] == [
        "Is the fastpath really taken?",
        "Where the time goes",
        "Where the difference comes from",
        "Download",
    ]
    labels = [app.get_by_key(f"history_download_{kind}").label for kind in ("json", "csv", "md")]
    assert labels == ["Run (.json)", "Operators (.csv)", "Report (.md)"]
    app.button(key="history_close").click().run()
    assert "run" not in app.query_params
    assert listed(app) == [SAMPLE.title]


def test_a_link_opens_its_run_and_a_link_to_no_run_says_so(app: AppTest, store: Store) -> None:
    store.save(a_run("it"))
    assert opened(app, "it").success
    app.query_params["run"] = "gone"
    app.run()
    assert "This server has no such run" in app.info[0].value
    assert not app.exception


def test_search_sort_and_filters_narrow_the_list(app: AppTest, store: Store) -> None:
    bf16 = SAMPLE.experiment.model_copy(update={"model": "xlmr", "dtype": "bf16"})
    store.save(a_run("one", title="Zebra", experiment=bf16))
    store.save(a_run("two", timedelta(hours=1), title="apple"))
    store.save(a_run("three", timedelta(hours=2), title="Apple pie"))
    history(app).text_input(key="history_words").set_value("APPLE").run()
    app.selectbox(key="history_sort").select("title").run()
    assert listed(app) == ["apple", "Apple pie"]
    assert '**2 runs**: "APPLE"' in words(app.markdown)
    app.button(key="history_clear").click().run()
    assert listed(app) == ["apple", "Apple pie", "Zebra"]
    app.multiselect(key="history_models").select("xlmr").run()
    assert listed(app) == ["Zebra"]


def test_an_address_shows_its_list(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b", "c")
    store.annotate("b", tags=("paper",))
    store.annotate("c", tags=("draft",))
    app.query_params["history_tags"] = ["paper", "draft"]
    app.query_params["history_sort"] = "Oldest first"
    assert listed(history(app)) == ["c", "b"]


def test_the_filters_in_words() -> None:
    wanted = RunFilter(words=" big ", models=("minilm", "xlmr-base"), paths=("packed",), tags=("paper",))
    assert narrowing_words(wanted) == '"big", minilm or xlmr-base, paper, Packed'
    assert narrowing_words(RunFilter(deleted=True, words=" ")) == ""


def test_a_filter_with_one_value_is_not_offered(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b")
    history(app)
    offered = {box.key for box in app.multiselect}
    assert "history_models" not in offered
    assert "history_machines" not in offered
    assert "history_paths" in offered


def test_no_match_offers_to_clear_the_filters(app: AppTest, store: Store) -> None:
    store_named(store, "a")
    history(app).text_input(key="history_words").set_value("nothing of the kind").run()
    assert "No run matches." in words(app.markdown)
    app.button(key="history_clear").click().run()
    assert listed(app) == ["a"]


def test_filters_are_kept_while_a_run_is_open(app: AppTest, store: Store) -> None:
    store_named(store, "apple", "pear")
    history(app).text_input(key="history_words").set_value("pear").run()
    app.query_params["run"] = "pear"
    app.run()
    app.button(key="history_close").click().run()
    assert listed(app) == ["pear"]


def test_many_runs_are_listed_page_by_page(app: AppTest, store: Store) -> None:
    store_named(store, *(f"run{number:02}" for number in range(23)))
    assert len(listed(history(app))) == 20
    app.session_state["history_page"] = 2
    app.run()
    assert listed(app) == ["run20", "run21", "run22"]
    app.text_input(key="history_words").set_value("run").run()
    assert len(listed(app)) == 20, "another list begins with its first page"


def test_a_page_beyond_the_last_is_the_first(app: AppTest, store: Store) -> None:
    store_named(store, *(f"run{number:02}" for number in range(23)))
    history(app)
    app.session_state["history_page"] = 2
    app.run()
    store.delete([f"run{number:02}" for number in range(5)])
    app.run()
    assert not app.exception
    assert len(listed(app)) == 18


def test_repeated_runs_are_drawn_with_their_message(app: AppTest, store: Store) -> None:
    store.save(a_run("first", timedelta(hours=2)))
    assert "as fast as the slow path." not in words(opened(app, "first").markdown)
    store.save(a_run("second"))
    elsewhere = SAMPLE.environment.model_copy(update={"machine": "elsewhere"})
    store.save(a_run("third", environment=elsewhere))
    assert "In 2 runs " in words(opened(app, "first").markdown)


@pytest.mark.parametrize(
    ("json", "sentence"), [("{", "damaged"), ('{"schema_version": 2}', "newer version of the lab")]
)
def test_an_unreadable_row_is_reported_and_its_json_can_be_downloaded(
    app: AppTest, store: Store, tmp_path: Path, json: str, sentence: str
) -> None:
    store.save(a_run("bad"))
    damage(tmp_path, "bad", json)
    opened(app, "bad")
    assert sentence in app.error[0].value
    assert app.get_by_key("history_download_raw").label == "Run (.json)"
    assert store.json_of("bad") == json


def test_a_database_that_does_not_work_is_reported_in_one_sentence(app: AppTest, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("no database" * 1000)
    assert "their database does not work" in history(app).error[0].value


def test_a_hosted_history_lists_no_visitors_texts_and_changes_nothing(
    app: AppTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPATH_HOSTED", "1")
    own = SAMPLE.experiment.batch.model_copy(update={"texts": ("my secret",), "lengths": (4,)})
    store.save(a_run("own", title="own", experiment=SAMPLE.experiment.model_copy(update={"batch": own})))
    preset = SAMPLE.experiment.model_copy(update={"batch": PRESETS["mixed"]})
    store.save(a_run("preset", title="preset", experiment=preset))
    store.annotate("own", tags=("secret-tag",))
    store.save(a_run("deleted", title="deleted", experiment=preset))
    store.delete(["deleted"])
    app.query_params["history_deleted"] = "true"
    assert listed(history(app)) == ["preset"]
    select(app, "preset")
    keys = {element.key for element in (*app.button, *app.toggle, *app.multiselect, *app.file_uploader)}
    assert "history_compare" in keys
    changing = {"history_delete_selected", "history_deleted", "history_tags_add", "history_import_files"}
    assert not changing & keys
    opened(app, "preset")
    assert app.success
    assert not {"history_delete", "history_edit_title_preset"} & {
        element.key for element in (*app.button, *app.text_input)
    }


def test_times_are_in_the_readers_time_zone() -> None:
    at = NOW - timedelta(hours=2)
    assert when_and_where(at, "lab", NOW, ZoneInfo("Asia/Tokyo")) == "2026-11-24 19:00, 2 hours ago, on lab"
    assert when_and_where(None, "", NOW, UTC) == "At an unknown time, on an unnamed machine"
