"""The History page lists, opens, downloads and deletes stored runs; a repeated experiment is answered from them."""

import os
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from streamlit.testing.v1 import AppTest

from engine.catalog.batches import PRESETS
from engine.host import this_host, threads_here
from engine.present.words.runs import verdict_sentence
from engine.records import Experiment, Run
from engine.store import store as store_module
from engine.store.opening import FILE_NAME
from engine.store.queries import RunFilter, RunRow
from engine.store.store import Store
from pages.kit import nav
from pages.kit.history import verdict_words, when_and_where
from pages.kit.recall import build_here, is_same_model, recall
from tests.pages.test_app import SAMPLE, words

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    kept = Store(f"sqlite:///{tmp_path / FILE_NAME}")
    monkeypatch.setitem(sys.__dict__, store_module._ANCHOR, kept)
    return kept


def a_run(run_id: str, age: timedelta = timedelta(0), **changes: object) -> Run:
    return SAMPLE.model_copy(update={"id": run_id, "created_at": datetime.now(UTC) - age, **changes})


def damage(tmp_path: Path, run_id: str, json: str) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE runs SET json = ? WHERE id = ?", (json, run_id))


def history(app: AppTest) -> AppTest:
    app.switch_page(nav.HISTORY).run()
    assert not app.exception
    assert app.title[0].value == "History"
    return app


def open_buttons(app: AppTest) -> list[str]:
    return [button.key or "" for button in app.button if (button.key or "").startswith("history_open_")]


def test_without_runs_the_page_says_how_to_get_one(app: AppTest) -> None:
    assert "There are no runs yet" in words(history(app).markdown)


def test_runs_are_listed_with_time_title_verdict_and_machine(app: AppTest, store: Store) -> None:
    machine = SAMPLE.environment.model_copy(update={"machine": "lab_1"})
    store.save(a_run("old", timedelta(hours=3), title="another *title*"))
    store.save(a_run("new", timedelta(minutes=3), environment=machine))
    history(app)
    assert open_buttons(app) == ["history_open_new", "history_open_old"]
    shown = words(app.markdown)
    assert SAMPLE.title in shown
    assert r"another \*title\*" in shown
    assert "Native MHA + sparsity is faster" in shown
    assert r"3 minutes ago, on lab\_1" in words(app.caption)


def test_a_run_opens_as_on_the_benchmark_page_and_closes_again(app: AppTest, store: Store) -> None:
    store.save(a_run("it"))
    history(app).button(key="history_open_it").click().run()
    assert not app.exception
    assert app.query_params["run"] == "it"
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
    assert open_buttons(app) == ["history_open_it"]


def test_a_link_opens_its_run_and_a_link_to_no_run_says_so(app: AppTest, store: Store) -> None:
    store.save(a_run("it"))
    app.query_params["run"] = "it"
    assert history(app).success
    app.query_params["run"] = "gone"
    app.run()
    assert "This server has no such run" in app.info[0].value
    assert not app.exception


def test_a_run_is_deleted_only_after_confirmation(app: AppTest, store: Store) -> None:
    store.save(a_run("it"))
    store.save(a_run("other"))
    history(app).button(key="history_open_it").click().run()
    assert store.count(RunFilter()) == 2
    app.button(key="history_delete_sure").click().run()
    assert not app.exception
    assert open_buttons(app) == ["history_open_other"]
    assert [row.id for row in store.find(RunFilter())] == ["other"]


@pytest.mark.parametrize(
    ("json", "sentence"), [("{", "damaged"), ('{"schema_version": 2}', "newer version of the lab")]
)
def test_an_unreadable_row_is_reported_and_its_json_can_be_downloaded(
    app: AppTest, store: Store, tmp_path: Path, json: str, sentence: str
) -> None:
    store.save(a_run("bad"))
    damage(tmp_path, "bad", json)
    history(app).button(key="history_open_bad").click().run()
    assert not app.exception
    assert sentence in app.error[0].value
    assert app.get_by_key("history_download_raw").label == "Run (.json)"
    assert store.json_of("bad") == json


def test_a_database_that_does_not_work_is_reported_in_one_sentence(app: AppTest, tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("no database" * 1000)
    assert "their database does not work" in history(app).error[0].value


def test_many_runs_are_listed_page_by_page(app: AppTest, store: Store) -> None:
    for number in range(13):
        store.save(a_run(f"run{number}", timedelta(minutes=number)))
    assert len(open_buttons(history(app))) == 10
    app.session_state["history_page"] = 2
    app.run()
    assert open_buttons(app) == ["history_open_run10", "history_open_run11", "history_open_run12"]


def test_a_hosted_history_lists_no_visitors_texts_and_deletes_nothing(
    app: AppTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPATH_HOSTED", "1")
    own = SAMPLE.experiment.batch.model_copy(update={"texts": ("my secret",), "lengths": (4,)})
    store.save(a_run("own", experiment=SAMPLE.experiment.model_copy(update={"batch": own})))
    store.save(a_run("preset", experiment=SAMPLE.experiment.model_copy(update={"batch": PRESETS["mixed"]})))
    assert open_buttons(history(app)) == ["history_open_preset"]
    app.button(key="history_open_preset").click().run()
    assert app.success
    assert "history_delete_sure" not in [button.key for button in app.button]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"best_path": "fast-mha", "verdict": "faster", "speedup": 2.06},
            "native MHA alone is faster (2.1x)",
        ),
        ({"best_path": "slow-grad", "verdict": "slower"}, "the slow path with gradients on is slower"),
        (
            {"best_path": "fast-mha", "verdict": "same", "speedup": 1.0},
            "native MHA alone is as fast as the slow path (1.00x)",
        ),
        ({"best_path": "fast-mha", "speedup": 1.1}, "native MHA alone: not sure (1.10x)"),
        ({}, "no path was compared with the slow path"),
    ],
)
def test_the_verdict_of_a_row(row: dict[str, object], sentence: str) -> None:
    assert verdict_words(RunRow.model_validate({"id": "a", **row})) == sentence


def test_times_are_in_the_readers_time_zone() -> None:
    at = NOW - timedelta(hours=2)
    assert when_and_where(at, "lab", NOW, ZoneInfo("Asia/Tokyo")) == "2026-11-24 19:00, 2 hours ago, on lab"
    assert when_and_where(None, "", NOW, UTC) == "At an unknown time, on an unnamed machine"


def measured_here(experiment: Experiment, age: timedelta) -> Run:
    """A run as a child on this machine writes it: with its threads and its environment."""
    host = this_host(experiment.allocator)
    facts = {name: getattr(host, name) for name in host.__dataclass_fields__} | {"quiet": True}
    return SAMPLE.model_copy(
        update={
            "created_at": NOW - age,
            "experiment": experiment.model_copy(update={"threads": experiment.threads or threads_here()}),
            "environment": SAMPLE.environment.model_copy(update=facts),
        }
    )


ASKED = SAMPLE.experiment.model_copy(update={"threads": None})


def test_a_stored_answer_is_shown_with_its_age(store: Store) -> None:
    assert recall(ASKED, build_here("system"), NOW) is None
    run = measured_here(ASKED, timedelta(minutes=3))
    store.save(run)
    recalled = recall(ASKED, build_here("system"), NOW)
    assert recalled is not None
    assert recalled.run == run
    assert recalled.sentence == "Measured 3 minutes ago on this machine; nothing was measured again."


def test_a_run_of_a_busy_machine_is_not_used_as_an_answer(store: Store) -> None:
    """Its own verdict advises to measure on a quieter machine, so the next Run measures."""
    run = measured_here(ASKED, timedelta(minutes=3))
    busy = run.environment.model_copy(update={"quiet": False, "notes": ("other processes were at work",)})
    store.save(run.model_copy(update={"environment": busy}))
    assert recall(ASKED, build_here("system"), NOW) is None


def test_a_continued_run_is_not_used_where_a_number_of_rounds_is_asked_for(store: Store) -> None:
    ten = ASKED.model_copy(update={"iterations": 10})
    for asked in (ASKED, ten):
        run = measured_here(asked, timedelta(minutes=3))
        store.save(run.model_copy(update={"id": f"{asked.iterations}", "sessions": (10, 24)}))
    assert recall(ASKED, build_here("system"), NOW) is not None
    assert recall(ten, build_here("system"), NOW) is None


def test_another_number_of_threads_or_another_build_is_measured(store: Store) -> None:
    store.save(measured_here(ASKED, timedelta(minutes=3)))
    more = ASKED.model_copy(update={"threads": threads_here() + 1})
    assert recall(more, build_here("system"), NOW) is None
    assert recall(ASKED, "another build", NOW) is None


def test_a_store_that_does_not_work_does_not_stop_measuring(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("no database" * 1000)
    assert recall(ASKED, build_here("system"), NOW) is None


def test_a_folder_written_since_or_a_name_on_the_hub_is_measured_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"weights")
    os.utime(weights, (time.time() - 3600,) * 2)
    now = datetime.now(UTC)
    assert is_same_model(str(folder), now)
    assert not is_same_model(str(folder), now - timedelta(hours=2))
    assert not is_same_model("owner/name", now)
    assert is_same_model("minilm", now)
