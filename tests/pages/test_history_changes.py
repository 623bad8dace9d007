"""The History page compares, tags, deletes, restores, exports and imports runs."""

from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from engine.analysis.conclude import concluded
from engine.present.reports.collection import About, KeptRun, read_runs
from engine.present.words.runs import verdict_sentence
from engine.store.queries import RunFilter
from engine.store.store import Store
from pages.kit.history_actions import exported_json, exported_parquet
from pages.kit.history_import import import_runs
from tests.pages.on_history import (
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


@pytest.mark.parametrize(
    ("number", "sentence", "enabled"),
    [
        (0, "two to six", False),
        (1, "one to five more", False),
        (2, "2 runs selected.", True),
        (6, "6 runs selected.", True),
        (7, "At most six", False),
    ],
)
def test_two_to_six_runs_can_be_compared(
    app: AppTest, store: Store, number: int, sentence: str, enabled: bool
) -> None:
    store_named(store, *"abcdefg")
    select(history(app), *"abcdefg"[:number])
    assert sentence in words(app.caption)
    assert app.button(key="history_compare").disabled is not enabled


def test_compare_leads_to_the_comparison_of_the_selected_runs(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b", "c")
    select(history(app), "c", "a").button(key="history_compare").click().run()
    assert not app.exception
    assert app.title[0].value == "Compare"
    assert app.query_params["runs"] == "c,a"


def test_a_selection_holds_on_every_page_of_the_list(app: AppTest, store: Store) -> None:
    store_named(store, *(f"run{number:02}" for number in range(23)))
    select(history(app), "run22", "run01")
    assert app.session_state["history_table"]["selection"]["rows"] == [1]
    app.session_state["history_page"] = 2
    app.run()
    assert app.session_state["history_table"]["selection"]["rows"] == [2]
    assert "2 runs selected" in words(app.caption)
    app.button(key="history_select_none").click().run()
    assert app.session_state["history_table"]["selection"]["rows"] == []


def test_deleted_runs_can_be_brought_back_at_once(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b", "c")
    select(history(app), "a", "c").button(key="history_delete_selected").click().run()
    assert listed(app) == ["b"]
    assert "2 runs are deleted" in words(app.markdown)
    app.button(key="history_undo").click().run()
    assert listed(app) == ["a", "b", "c"]
    assert "2 runs restored." in words(app.markdown)
    app.button(key="history_dismiss").click().run()
    assert "restored" not in words(app.markdown)


def test_deleted_runs_are_listed_and_restored_later(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b")
    store.delete(["a"])
    history(app).toggle(key="history_deleted").set_value(True).run()
    assert listed(app) == ["a"]
    assert "1 deleted run" in words(app.markdown)
    assert "for 7 days" in words(app.caption)
    select(app, "a").button(key="history_restore").click().run()
    assert "No deleted run matches." in words(app.markdown)
    app.button(key="history_clear").click().run()
    assert listed(app) == ["a", "b"]


def test_a_selection_is_not_taken_along_to_the_deleted_runs(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b")
    store.delete(["b"])
    select(history(app), "a").toggle(key="history_deleted").set_value(True).run()
    assert app.session_state["history_shelf"].selected == ()
    assert app.button(key="history_restore").disabled


def test_an_opened_run_is_deleted_with_undo(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b")
    opened(app, "a").button(key="history_delete").click().run()
    assert listed(app) == ["b"]
    app.button(key="history_undo").click().run()
    assert listed(app) == ["a", "b"]


def test_several_runs_are_tagged_at_once(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b", "c")
    store.annotate("a", tags=("old", "kept"), note="a note")
    select(history(app), "a", "b")
    app.multiselect(key="history_tags_add").set_value(["paper"])
    app.multiselect(key="history_tags_remove").set_value(["old"])
    app.button(key="FormSubmitter:history_tagging-Change 2 runs").click().run()
    assert not app.exception
    assert [(row.id, row.tags, row.note) for row in store.find(RunFilter())] == [
        ("a", ("kept", "paper"), "a note"),
        ("b", ("paper",), ""),
        ("c", (), ""),
    ]
    assert "The tags of 2 runs are changed." in words(app.markdown)


def test_a_tag_that_is_too_long_is_refused_in_one_sentence(app: AppTest, store: Store) -> None:
    store_named(store, "a", "b")
    select(history(app), "a", "b").multiselect(key="history_tags_add").set_value(["x" * 99])
    app.button(key="FormSubmitter:history_tagging-Change 2 runs").click().run()
    assert "A tag has at most 40 characters" in words(app.markdown)
    assert store.choices().tags == ()


def test_title_tags_and_note_of_a_run_are_changed(app: AppTest, store: Store) -> None:
    store.save(a_run("it"))
    opened(app, "it")
    app.text_input(key="history_edit_title_it").set_value("For the *paper*")
    app.multiselect(key="history_edit_tags_it").set_value(["paper"])
    app.text_area(key="history_edit_note_it").set_value("first line\nsecond")
    app.button(key="FormSubmitter:history_edit_it-Save").click().run()
    assert not app.exception
    row = store.row("it")
    assert row is not None
    assert (row.title, row.tags, row.note) == ("For the *paper*", ("paper",), "first line\nsecond")
    assert app.subheader[0].value == r"For the \*paper\*"
    assert SAMPLE.title in words(app.caption), "what was measured stays visible"
    assert "second" in words(app.markdown)
    assert store.get("it") == a_run("it").model_copy(update={"created_at": row.created_at})


def test_an_exported_selection_is_imported_elsewhere_with_its_titles_and_tags(
    store: Store, tmp_path: Path
) -> None:
    store_named(store, "a", "b")
    store.annotate("a", title="renamed", tags=("paper",), note="why")
    elsewhere = Store(f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}")
    collected = read_runs(exported_json(store, ("a", "b")).encode(), "runs.json")
    assert import_runs(elsewhere, collected.runs) == (["a", "b"], [])
    renamed, other = elsewhere.row("a"), elsewhere.row("b")
    assert renamed is not None
    assert other is not None
    assert (renamed.title, renamed.tags, renamed.note) == ("renamed", ("paper", "imported"), "why")
    assert (other.title, other.renamed, other.tags) == ("b", False, ("imported",))
    assert elsewhere.get("a") == store.get("a")


def test_the_exported_table_has_the_selected_runs(store: Store, tmp_path: Path) -> None:
    store_named(store, "a", "b", "c")
    damage(tmp_path, "c", "{")
    frame = pd.read_parquet(BytesIO(exported_parquet(store, ("a", "c", "gone"))))
    assert set(frame["run_id"]) == {"a"}
    assert len(frame) == len(SAMPLE.paths)


def test_files_are_imported_and_each_refusal_is_one_sentence(app: AppTest, store: Store) -> None:
    store_named(store, "here")
    good, here = a_run("new", timedelta(days=9), title="from *afar*"), a_run("here")
    history(app)
    uploader = app.file_uploader(key="history_import_files")
    uploader.upload("good.json", good.model_dump_json().encode())
    uploader.upload("here.json", here.model_dump_json().encode())
    uploader.upload("bad.json", b"\x80\x04K\x01.")
    app.button(key="history_import_submit").click().run()
    assert not app.exception
    shown = words(app.markdown)
    assert "1 run is imported and selected." in shown
    assert "bad.json is not valid JSON" in shown
    assert "(here) is here already and is left as it is." in shown
    assert app.session_state["history_shelf"].selected == ("new",)
    row = store.row("new")
    assert row is not None
    assert row.tags == ("imported",)
    kept = store.row("here")
    assert kept is not None
    assert kept.title == "here"


def test_an_edited_run_is_kept_as_it_is_and_said_to_be_so(app: AppTest, store: Store) -> None:
    paths = list(SAMPLE.paths)
    slower = next(number for number, path in enumerate(paths) if path.verdict == "faster")
    paths[slower] = paths[slower].model_copy(update={"verdict": "slower", "speedup": 0.5})
    edited = a_run("edited", paths=tuple(paths))
    kept, sentences = import_runs(store, [KeptRun(run=edited)])
    assert kept == ["edited"]
    assert "is kept as it is in its file. From its samples" in sentences[0]
    assert store.get("edited") == edited
    opened(app, "edited")
    assert "instead of slower (0.50x)" in words(app.markdown)
    stored = app.success[0].value if app.success else app.info[0].value
    app.toggle(key="history_again_edited").set_value(True).run()
    assert app.success[0].value == verdict_sentence(concluded(edited)) != stored


def test_an_import_into_a_full_store_says_what_was_not_kept(tmp_path: Path) -> None:
    full = Store(f"sqlite:///{tmp_path / 'full.sqlite3'}", runs_kept=1)
    full.save(a_run("new"))
    kept, sentences = import_runs(full, [KeptRun(run=a_run("old", timedelta(days=400)))])
    assert kept == []
    assert "older than all runs here" in sentences[0]


def test_a_run_whose_tags_cannot_be_kept_is_imported_without_them(store: Store) -> None:
    about = About(title="t", tags=tuple(map(str, range(20))))
    kept, sentences = import_runs(store, [KeptRun(run=a_run("a"), about=about)])
    assert kept == ["a"]
    assert "without the title, tags and note of its file. A run has at most 20 tags" in sentences[0]
    row = store.row("a")
    assert row is not None
    assert row.tags == ("imported",)


def test_an_unreadable_run_can_be_deleted(app: AppTest, store: Store, tmp_path: Path) -> None:
    store_named(store, "bad", "good")
    damage(tmp_path, "bad", "{")
    opened(app, "bad").button(key="history_delete").click().run()
    assert listed(app) == ["good"]
