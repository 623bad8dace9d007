"""The Doctor page finds what was modified on purpose, shows the most important first, and keeps the result."""

from streamlit.testing.v1 import AppTest

from engine.catalog.batches import PRESETS
from engine.catalog.modifications import MODIFICATIONS
from engine.present.words.doctor_obstacles import obstacles
from pages.kit import nav
from pages.kit.doctor import states_table
from pages.kit.markdown import as_text
from pages.kit.results import is_doubtful
from pages.kit.state import Lab
from tests.pages.conftest import run_until
from tests.pages.test_app import words
from tests.samples import (
    a_broken_diagnosis,
    a_diagnosis,
    a_silently_wrong_diagnosis,
    checked_by_every_part,
    sample_path,
)


def lab(app: AppTest) -> Lab:
    found: Lab = app.session_state["lab"]
    return found


def open_doctor(app: AppTest, *modifications: str) -> None:
    app.switch_page(nav.DOCTOR).run()
    app.multiselect(key="doctor_modifications").set_value(list(modifications)).run()


def examine(app: AppTest, *modifications: str) -> None:
    open_doctor(app, *modifications)
    app.button(key="doctor_examine").click().run()
    run_until(app, lambda app: app.get("download_button"))
    assert not app.exception


def test_the_page_opens_inside_the_frame_and_says_what_the_doctor_does(app: AppTest) -> None:
    app.switch_page(nav.DOCTOR).run()
    assert not app.exception
    assert app.title[0].value == "Doctor"
    assert "every condition that torch checks" in words(app.caption)


def test_an_unmodified_model_takes_both_parts(app: AppTest) -> None:
    examine(app)
    assert "The fastpath is taken" in app.success[0].value
    shown = words(app.markdown)
    assert "6 of 6 layers fused" in shown
    assert "1 nested conversion: padding left out" in shown
    assert "All conditions that torch checks are met." in shown
    assert not app.error


def test_a_model_broken_on_purpose_shows_what_stands_in_the_way_with_cures_and_torchs_words(
    app: AppTest,
) -> None:
    examine(app, "train-mode", "gradients")
    assert lab(app).examined is not None
    assert "The fastpath is not taken" in app.error[0].value
    shown = words(app.markdown)
    for obstacle in obstacles(checked_by_every_part(a_broken_diagnosis())):
        assert shown.count(f"**Needs** {as_text(obstacle.check.needs)}") == 1
        assert as_text(obstacle.check.has) in shown
    assert as_text("torch's internal reason (not logged): “training is enabled”") in words(app.caption)
    code = [block.value for block in app.code]
    assert "\n".join(MODIFICATIONS[name].code for name in ("train-mode", "gradients")) in code
    assert code[-1] == "model.eval()\ntorch.inference_mode().__enter__()"


def test_silently_wrong_answers_are_shown_first(app: AppTest) -> None:
    examine(app, "left-padding")
    assert "its answer is wrong" in app.error[0].value
    assert app.error[1].value == a_silently_wrong_diagnosis().dangers[0].why
    assert "predicted for 1 encoder" in app.warning[0].value
    assert not app.success
    verdicts = list(app.dataframe[0].value["Verdict"])
    assert verdicts == ["baseline", "wrong results, not recommended"]


def test_the_request_has_model_batch_modifications_and_precision(app: AppTest) -> None:
    app.pills(key="overview_preset").select("mixed").run()
    open_doctor(app, "hook")
    app.segmented_control(key="doctor_dtype").set_value("bf16").run()
    app.button(key="doctor_examine").click().run()
    request = lab(app).examined
    assert request is not None
    assert (request.model, request.batch, request.modifications, request.dtype) == (
        "minilm",
        PRESETS["mixed"],
        ("hook",),
        "bf16",
    )


def test_a_result_stays_after_a_visit_to_another_page_and_says_when_settings_changed(
    app: AppTest,
) -> None:
    examine(app)
    app.switch_page(nav.OVERVIEW).run()
    app.switch_page(nav.DOCTOR).run()
    assert "The fastpath is taken" in app.success[0].value
    assert "have changed since" not in words(app.info)
    app.multiselect(key="doctor_modifications").set_value(["hook"]).run()
    assert "have changed since" in words(app.info)
    assert "The fastpath is taken" in app.success[0].value


def test_a_died_examination_is_reported_and_the_settings_are_kept(app: AppTest) -> None:
    lab(app).model = "dies/at-once"
    open_doctor(app, "hook")
    app.button(key="doctor_examine").click().run()
    run_until(app, lambda app: app.error)
    assert "exit code 7" in app.error[0].value
    assert app.multiselect(key="doctor_modifications").value == ["hook"]
    assert not app.button(key="doctor_examine").disabled


def test_the_table_of_states_has_every_state() -> None:
    table = states_table(a_broken_diagnosis())
    assert list(table["State"]) == [state.title for state in a_broken_diagnosis().states]
    assert list(table["Fused"]) == ["0 of 6", "0 of 6", "0 of 6", "6 of 6"]
    assert table["Speedup"].iloc[3] == "2.9x (2.9x to 3.0x)"
    assert states_table(a_diagnosis())["Verdict"].iloc[1] == "baseline"


def test_text_with_markdown_characters_is_shown_as_it_is() -> None:
    assert as_text("self_attn.__init__ has *x*") == r"self\_attn.\_\_init\_\_ has \*x\*"
    assert as_text("call `model.__call__` and a_b") == r"call `model.__call__` and a\_b"


def test_the_benchmark_links_to_the_doctor_only_where_a_fastpath_is_doubtful() -> None:
    fast, slow = sample_path("fast-mha", (5.0,), 6), sample_path("slow-grad", (20.0,), 0)
    assert fast.evidence is not None
    refuted = fast.evidence.model_copy(update={"ok": False})
    assert not is_doubtful(fast.model_copy(update={"verdict": "faster"}))
    assert is_doubtful(fast.model_copy(update={"verdict": "same"}))
    assert is_doubtful(fast.model_copy(update={"verdict": "faster", "evidence": refuted}))
    assert not is_doubtful(slow.model_copy(update={"verdict": "slower"}))
