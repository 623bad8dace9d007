"""The allocator on the Benchmark page: choose it, measure with the other one too, and see that it has changed."""

from streamlit.testing.v1 import AppTest

from pages.kit import nav
from tests.pages.conftest import run_until
from tests.pages.test_app import lab, words

CHANGED = "The settings have changed since this run"
OTHER = "bench_other_allocator"


def measured(app: AppTest) -> AppTest:
    app.switch_page(nav.BENCHMARK).run()
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    return app


def test_a_new_run_keeps_freed_memory_and_says_so(app: AppTest) -> None:
    measured(app)
    assert lab(app).ended["run"].run.experiment.allocator == "kept"
    assert "Memory: glibc, freed memory kept." in words(app.caption)
    assert app.button(key=OTHER).label == "Measure with the system's allocator too"


def test_the_run_with_the_other_allocator_is_shown_beside_it_until_the_next_run(app: AppTest) -> None:
    measured(app).button(key=OTHER).click().run()
    run_until(app, lambda app: "What the allocator costs" in words(app.subheader))
    first, second = (lab(app).ended[slot].run.experiment for slot in ("run", "run-other-allocator"))
    assert second == first.model_copy(update={"allocator": "system"})
    assert "Under the system's allocator" in words(app.caption)
    assert "freed memory kept 1.00x" in words(app.caption), "the allocator is one of the steps"
    shown = [
        str(element.value) for element in app.main if element.type in ("markdown", "caption", "subheader")
    ]
    order = ("Which to choose", "Grey band", "What the allocator costs", "Is the fastpath really taken?")
    places = [next(i for i, text in enumerate(shown) if part in text) for part in order]
    assert places == sorted(places), "the answer and its speedups come first"
    # The job may have ended after its button was drawn; the panel that was drawn with it draws the page again.
    run_until(app, lambda app: OTHER not in [button.key for button in app.button])
    assert "What the allocator costs" in words(app.subheader)
    app.button(key="bench_run").click().run()
    run_until(app, lambda app: app.success)
    assert "What the allocator costs" not in words(app.subheader)


def test_every_changed_setting_is_announced(app: AppTest) -> None:
    assert CHANGED not in words(measured(app).info)
    for key, chosen in (("bench_allocator", "system"), ("bench_rounds", "10, as in the tutorial")):
        before = app.segmented_control(key=key).value
        app.segmented_control(key=key).select(chosen).run()
        assert CHANGED in words(app.info), key
        app.segmented_control(key=key).select(before).run()
        assert CHANGED not in words(app.info), key
    app.selectbox(key="bench_threads").select(1).run()
    assert CHANGED in words(app.info)
