"""What each page shows and does, through the frame, with the real desk and real child processes."""

import shutil
from collections.abc import Sequence
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from engine.analysis.tutorial_steps import STEP_PATHS
from engine.catalog.batches import PRESETS
from engine.host import usable_cores
from engine.present.words.runs import path_title, recommendation_sentences, verdict_sentence
from engine.records import read_run
from pages.kit import nav
from pages.kit.state import Lab
from tests.pages.conftest import PROJECT, run_until

SAMPLE = read_run((PROJECT / "tests" / "data" / "run_minilm_tutorial_big.json").read_bytes())
MANY_WORDS = " ".join(["word"] * 5000)


def lab(app: AppTest) -> Lab:
    found: Lab = app.session_state["lab"]
    return found


def words(elements: Sequence[Any]) -> str:
    return "\n".join(str(element.value) for element in elements)


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (nav.OVERVIEW, "Fastpath Lab"),
        (nav.MODEL, "Model"),
        (nav.BATCH, "Batch"),
        (nav.BENCHMARK, "Benchmark"),
        (nav.WALKTHROUGH, "Walkthrough"),
        (nav.COMPARE, "Compare"),
    ],
)
def test_every_page_opens_inside_the_frame(app: AppTest, page: str, title: str) -> None:
    app.switch_page(page).run()
    assert not app.exception
    assert app.title[0].value == title
    assert "Machine free" in words(app.sidebar.caption)


def test_load_preset_and_run_on_the_overview_lead_to_a_verdict(app: AppTest) -> None:
    app.button(key="overview_load").click().run()
    run_until(app, lambda app: "is loaded" in words(app.markdown))
    app.pills(key="overview_preset").select("tutorial-small").run()
    app.button(key="overview_run").click().run()
    run_until(app, lambda app: app.success)
    assert app.title[0].value == "Benchmark"
    assert app.success[0].value == verdict_sentence(lab(app).ended["run"].run)
    assert lab(app).ended["run"].run.experiment.batch == PRESETS["tutorial-small"]
    labels = [app.get_by_key(f"bench_download_{kind}").label for kind in ("json", "csv", "md", "html", "py")]
    assert labels == ["Run (.json)", "Operators (.csv)", "Report (.md)", "Report (.html)", "Script (.py)"]


def test_a_model_loaded_again_is_said_to_be_in_memory(app: AppTest) -> None:
    app.switch_page(nav.MODEL).run()
    app.button(key="model_load").click().run()
    run_until(app, lambda app: app.metric)
    assert "already in memory" not in words(app.caption)
    app.button(key="model_load").click().run()
    run_until(app, lambda app: "already in memory" in words(app.caption))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no-such/model", "There is no model no-such/model on the hub."),
        ("not a model", "There is no model 'not a model'"),
        ("dies/at-once", "exit code 7"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_and_the_typed_name_is_kept(
    app: AppTest, name: str, sentence: str
) -> None:
    app.switch_page(nav.MODEL).run()
    app.segmented_control(key="model_source").set_value("own").run()
    app.text_input(key="model_own").set_value(name).run()
    app.button(key="model_load").click().run()
    run_until(app, lambda app: app.error)
    assert sentence in app.error[0].value
    assert app.text_input(key="model_own").value == name


def test_texts_edited_in_the_grid_become_the_batch_and_keep_their_line_breaks(app: AppTest) -> None:
    app.switch_page(nav.BATCH).run()
    app.session_state["batch_grid_0"] = {
        "edited_rows": {"0": {"text": "Good morning"}},
        "added_rows": [{"text": "One\u23cemore"}, {"text": "  "}],
        "deleted_rows": [1],
    }
    app.run()
    war_and_peace = PRESETS["tutorial-big"].texts[2]
    assert lab(app).batch.texts == ("Good morning", war_and_peace, "One\nmore")
    assert app.pills(key="batch_preset").value is None
    assert "1 blank text left out" in words(app.caption)
    run_until(app, lambda app: "tokenize" in lab(app).ended)
    assert lab(app).ended["tokenize"].batch.texts == lab(app).batch.texts
    assert app.metric[1].value == str(sum(lab(app).ended["tokenize"].batch.lengths))


def test_the_lines_editor_shows_the_same_texts_and_accepts_others(app: AppTest) -> None:
    app.switch_page(nav.BATCH).run()
    app.segmented_control(key="batch_door").set_value("Lines").run()
    assert lab(app).batch == PRESETS["tutorial-big"]
    app.text_area(key="batch_lines_0").set_value("first\n\nsecond\u23celine").run()
    assert lab(app).batch.texts == ("first", "second\nline")
    app.segmented_control(key="batch_door").set_value("Grid").run()
    assert lab(app).batch.texts == ("first", "second\nline")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "There are no texts"),
        ("\n".join(["x"] * 300), "more than the 256 allowed"),
        (MANY_WORDS, "shorten or split it"),
    ],
)
def test_refused_texts_stay_in_the_editor_and_the_earlier_batch_is_kept(
    app: AppTest, typed: str, sentence: str
) -> None:
    app.switch_page(nav.BATCH).run()
    app.segmented_control(key="batch_door").set_value("Lines").run()
    app.text_area(key="batch_lines_0").set_value(typed).run()
    assert sentence in app.error[0].value
    assert app.text_area(key="batch_lines_0").value == typed
    assert lab(app).batch == PRESETS["tutorial-big"]
    app.switch_page(nav.OVERVIEW).run()
    app.switch_page(nav.BATCH).run()
    assert app.text_area(key="batch_lines_0").value == typed, "still there after a look at another page"


def test_an_upload_becomes_the_batch_and_a_bad_one_is_refused(app: AppTest) -> None:
    app.switch_page(nav.BATCH).run()
    app.segmented_control(key="batch_door").set_value("Upload").run()
    app.file_uploader(key="batch_upload").upload("bad.txt", b"fine\n\xff\xfe").run()
    assert "not UTF-8 (line 2)" in app.error[0].value
    assert lab(app).batch == PRESETS["tutorial-big"]
    app.file_uploader(key="batch_upload").upload("good.json", b'["one", "two"]').run()
    assert not app.error
    assert lab(app).batch.texts == ("one", "two")


def test_failed_tokenizing_can_be_tried_again(app: AppTest) -> None:
    lab(app).model = "dies/at-once"
    app.switch_page(nav.BATCH).run()
    app.button(key="batch_load").click().run()
    run_until(app, lambda app: app.error)
    assert "exit code 7" in app.error[0].value
    first = lab(app).tickets["tokenize"]
    app.button(key="batch_retry").click().run()
    assert lab(app).tickets["tokenize"] != first


def test_a_running_measurement_can_be_cancelled_and_settings_are_kept(app: AppTest) -> None:
    app.pills(key="overview_preset").select("skewed-64").run()
    app.switch_page(nav.BENCHMARK).run()
    app.segmented_control(key="bench_dtype").set_value("bf16").run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: any(bar.text.startswith("Measuring for ever") for bar in app.get("progress")))
    assert app.button(key="bench_run").disabled
    app.button(key="cancel_run").click().run()
    run_until(app, lambda app: app.info)
    assert "Cancelled" in app.info[0].value
    assert app.segmented_control(key="bench_dtype").value == "bf16"
    assert not app.button(key="bench_run").disabled


def test_the_baseline_is_measured_even_when_it_is_not_chosen(app: AppTest) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.pills(key="bench_paths").set_value(["fast-nested"]).run()
    app.pills(key="bench_beyond").set_value([]).run()
    app.segmented_control(key="bench_rounds").set_value("10, as in the tutorial").run()
    app.selectbox(key="bench_threads").set_value(1).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    experiment = lab(app).ended["run"].run.experiment
    assert (experiment.paths, experiment.iterations, experiment.threads) == (("slow", "fast-nested"), 10, 1)


def test_paths_of_every_group_are_measured_together(app: AppTest) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.pills(key="bench_paths").set_value([]).run()
    app.pills(key="bench_beyond").set_value(["packed"]).run()
    app.pills(key="bench_lower").set_value(["packed@bf16"]).run()
    assert "Chosen in lower precision: Packed, bf16." in words(app.caption)
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    assert lab(app).ended["run"].run.experiment.paths == ("slow", "packed", "packed@bf16")


def test_a_result_says_which_path_to_choose_and_leads_to_its_script(app: AppTest) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    assert "Which to choose" in words(app.markdown)
    assert recommendation_sentences(SAMPLE)[0] in words(app.markdown)
    assert app.get_by_key("bench_download_py").label == "Script (.py)"


def test_a_button_beside_the_answer_adds_rounds_to_the_run(app: AppTest) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    first = lab(app).ended["run"].run
    assert app.button(key="bench_more").label == "20 s more"
    app.button(key="bench_more").click().run()
    run_until(app, lambda app: "run" in lab(app).ended and app.success)
    longer = lab(app).ended["run"].run
    assert (longer.continues, longer.rounds) == (first.id, 2 * first.rounds)
    assert "Continued once after its result was seen" in words(app.caption)


def test_a_run_that_cannot_be_continued_says_why_and_stays_on_the_page(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    answer = app.success[0].value
    monkeypatch.setenv("FASTPATH_HOSTED", "1")
    monkeypatch.setenv("FASTPATH_MAX_BATCH_TOKENS", "1")
    app.button(key="bench_more").click().run()
    assert "allowed on this shared server" in words(app.error)
    assert app.success[0].value == answer


def test_operators_are_shown_by_self_and_by_total_time(app: AppTest) -> None:
    app.button(key="overview_run").click().run()
    run_until(app, lambda app: app.success)
    by_self = [chart.proto.spec for chart in app.get("vega_lite_chart")]
    app.segmented_control(key="bench_kind").set_value("total").run()
    by_total = [chart.proto.spec for chart in app.get("vega_lite_chart")]
    assert sum(a != b for a, b in zip(by_self, by_total, strict=True)) == 1


def test_a_section_of_the_walkthrough_shows_its_run_below_it(app: AppTest) -> None:
    app.switch_page(nav.WALKTHROUGH).run()
    app.button(key="walk_2.3_run").click().run()
    run_until(app, lambda app: app.success)
    experiment = lab(app).ended["walk_2.3"].run.experiment
    assert experiment.paths == ("slow", "fast-mha", "fast-nested")
    assert experiment.iterations == 10


def test_the_switch_of_section_2_2_decides_which_native_mha_runs(app: AppTest) -> None:
    app.switch_page(nav.WALKTHROUGH).run()
    app.button(key="walk_2.2_run").click().run()
    run_until(app, lambda app: "walk_2.2" in lab(app).ended)
    assert "tutorial-mha" in lab(app).ended["walk_2.2"].run.experiment.paths
    app.segmented_control(key="walk_switch").set_value("use_nested_tensor (corrected)").run()
    app.button(key="walk_2.2_run").click().run()
    run_until(app, lambda app: "walk_2.2" in lab(app).ended)
    assert "tutorial-mha" not in lab(app).ended["walk_2.2"].run.experiment.paths


def test_traces_are_offered_only_when_asked_for(app: AppTest) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    assert lab(app).traces is None
    app.toggle(key="bench_traces").set_value(True).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    names = ("slow", "fast-mha", "fast-nested")
    labels = [app.get_by_key(f"bench_trace_{name}").label for name in names]
    assert labels == [f"Trace: {path_title(name)}" for name in names]


def test_a_result_explains_where_the_difference_comes_from(app: AppTest) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    shown = words(app.caption)
    assert "From the slow path to native MHA + sparsity" in shown
    assert "Each bar is the speedup of one path over the path before it" in shown
    assert "Page faults per forward" in shown


def test_a_device_is_chosen_only_where_there_is_more_than_one(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.switch_page(nav.BENCHMARK).run()
    assert "bench_device" not in app.session_state
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    app.run()
    app.segmented_control(key="bench_device").set_value("cuda").run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    assert lab(app).ended["run"].run.experiment.device == "cuda"


def test_the_walkthrough_ends_with_all_steps(app: AppTest) -> None:
    app.switch_page(nav.WALKTHROUGH).run()
    app.button(key="walk_steps_run").click().run()
    run_until(
        app, lambda app: "The tutorial's headline is the speedup of all steps together" in words(app.caption)
    )
    assert lab(app).ended["walk_steps"].run.experiment.paths == STEP_PATHS


def test_a_result_says_when_the_settings_have_changed_since(app: AppTest) -> None:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    assert "have changed since" not in words(app.info)
    app.segmented_control(key="bench_dtype").set_value("fp16").run()
    assert "have changed since" in words(app.info)


def test_a_batch_too_large_for_a_shared_server_is_refused_in_place_of_its_lengths(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTPATH_HOSTED", "1")
    app.switch_page(nav.BATCH).run()
    app.segmented_control(key="batch_door").set_value("Lines").run()
    app.text_area(key="batch_lines_0").set_value("\n".join([" ".join(["word"] * 60)] * 256)).run()
    assert not app.exception
    assert "tokens in the batch" in words(app.error)
    assert len(lab(app).batch.texts) == 256


def test_threads_are_offered_up_to_the_cores_that_may_be_used(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 192)
    app.switch_page(nav.BENCHMARK).run()
    assert len(app.selectbox(key="bench_threads").options) == usable_cores() + 1


def test_a_running_section_cannot_be_started_again(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    app.switch_page(nav.WALKTHROUGH).run()
    monkeypatch.setitem(PRESETS, "tutorial-big", PRESETS["skewed-64"])
    app.button(key="walk_2.1_run").click().run()
    run_until(app, lambda app: any(bar.text.startswith("Measuring for ever") for bar in app.get("progress")))
    assert app.button(key="walk_2.1_run").disabled
    app.button(key="cancel_walk_2.1").click().run()
    run_until(app, lambda app: app.info)
    assert not app.button(key="walk_2.1_run").disabled
