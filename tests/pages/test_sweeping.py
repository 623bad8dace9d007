"""The Sweep page: started, seen while it lands, stopped, resumed, opened by its address, deleted and restored."""

import sys
from collections.abc import Iterator
from secrets import token_hex

import pytest
from streamlit.testing.v1 import AppTest

from engine.desk import desk as desk_module
from engine.desk.desk import Desk, _keep_cell_in_store
from engine.desk.process import ChildProcess
from engine.store.sweeps import the_sweeps
from engine.sweeps import Sweep, SweepCell
from pages.kit import nav
from tests.pages.conftest import CHILD, LONG_S, PROJECT, run_until
from tests.pages.test_app import words
from tests.sweep_samples import a_sweep

# Each test has a store of its own, which another worker's tests cannot change.
pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The app whose desk keeps cells in the store."""
    desk = Desk(lambda *_where: ChildProcess(CHILD, PROJECT), on_cell=_keep_cell_in_store)
    monkeypatch.setitem(sys.__dict__, desk_module._ANCHOR, desk)
    app = AppTest.from_file(str(PROJECT / "streamlit_app.py"), default_timeout=LONG_S).run()
    app.switch_page(nav.SWEEP).run()
    yield app
    assert not app.exception


def fill(
    app: AppTest, batch_sizes: str = "4, 8", lengths: str = "16, 64", padding: str = "0, 30%, 0.6"
) -> None:
    app.text_input(key="sweep_batch_sizes").set_value(batch_sizes)
    app.text_input(key="sweep_lengths").set_value(lengths)
    app.text_input(key="sweep_padding").set_value(padding).run()


def sweep(app: AppTest) -> None:
    app.button(key="sweep_start").click().run()
    run_until(app, lambda app: "Finished: 12 of 12 cells." in words(app.markdown))


def stop_after_three(app: AppTest) -> None:
    fill(app, batch_sizes="4, 100")
    app.button(key="sweep_start").click().run()
    run_until(app, lambda app: "Measuring: 3 of 12 cells so far." in words(app.markdown))
    app.button(key="cancel_sweep").click().run()
    run_until(app, lambda app: app.info)


def test_cells_that_cannot_be_stored_are_told(monkeypatch: pytest.MonkeyPatch, app: AppTest) -> None:
    def full(sweep: Sweep, cell: SweepCell) -> None:
        if cell.number < 3:
            raise OSError("disk full")
        _keep_cell_in_store(sweep, cell)

    desk = Desk(lambda *_where: ChildProcess(CHILD, PROJECT), on_cell=full)
    monkeypatch.setitem(sys.__dict__, desk_module._ANCHOR, desk)
    fill(app)
    app.button(key="sweep_start").click().run()
    run_until(app, lambda app: app.button(key="sweep_start") and "9 of 12 cells" in words(app.markdown))
    run_until(app, lambda app: app.warning)
    assert "3 cells of this sweep could not be stored" in words(app.warning)
    run_until(app, lambda app: [button for button in app.button if button.key == "sweep_resume"])


def store_a_sweep() -> str:
    """A sweep of its own id, because a deleted one stays deleted."""
    found = a_sweep().model_copy(update={"id": token_hex(6)})
    for cell in found.cells:
        the_sweeps().keep(found, cell)
    return found.id


def opened(app: AppTest, sweep_id: str) -> AppTest:
    app.query_params["sweep"] = sweep_id
    return app.run()


def test_the_size_and_the_time_are_told_before_anything_starts(app: AppTest) -> None:
    fill(app)
    assert "12 cells, about" in words(app.caption)
    fill(app, lengths="16, 600")
    assert "600 tokens is more than the 512 that the model takes" in words(app.caption)
    fill(app, lengths="sixteen")
    assert "takes whole numbers separated by commas" in words(app.caption)
    app.button(key="sweep_start").click().run()
    assert "takes whole numbers separated by commas" in app.error[0].value


def test_a_sweep_is_shown_as_a_map_with_its_message(app: AppTest) -> None:
    fill(app)
    sweep(app)
    shown = words(app.markdown)
    assert "is best in" in shown
    assert "8 texts x 64 tokens: sparsity becomes faster between 0% and 30% padding." in shown
    (chart,) = app.get("vega_lite_chart") or app.get("arrow_vega_lite_chart")
    assert chart is not None
    table = app.dataframe[0].value
    assert len(table) == 12 * 4
    assert {"Texts", "Tokens", "Padding", "Path", "Speedup", "Verdict"} <= set(table.columns)
    assert len(app.get("download_button")) == 2


def test_figure_path_and_axes_are_chosen(app: AppTest) -> None:
    opened(app, store_a_sweep())
    app.segmented_control(key="sweep_figure").set_value("speedup").run()
    assert "Native MHA + sparsity is" in words(app.markdown)
    app.selectbox(key="sweep_path_speedup").set_value("packed").run()
    assert "Packed execution is" in words(app.markdown)
    app.segmented_control(key="sweep_figure").set_value("tokens").run()
    assert "for 1,000 real tokens." in words(app.markdown)
    up = next(box for box in app.selectbox if box.label == "Upwards")
    up.set_value("length").run()
    labels = [box.label for box in app.selectbox]
    assert "Texts in the batch" in labels, "the axis that is left is fixed at one of its values"
    assert "Tokens of the longest text" not in labels


def test_a_cell_opens_as_any_run(app: AppTest) -> None:
    opened(app, store_a_sweep())
    box = next(box for box in app.selectbox if box.label == "Open a cell")
    box.set_value(8).run()
    assert "Is the fastpath really taken?" in words(app.subheader)
    assert "6 of 6 layers ran fused" in words(app.markdown)


def test_cells_are_seen_as_they_land_and_a_stopped_sweep_is_resumed(app: AppTest) -> None:
    stop_after_three(app)
    assert "the cells that were complete are kept" in app.info[0].value
    assert "Stopped after 3 of 12 cells." in words(app.markdown)
    first = app.query_params["sweep"]
    app.button(key="sweep_resume").click().run()
    run_until(app, lambda app: "Finished: 12 of 12 cells." in words(app.markdown))
    assert app.query_params["sweep"] == first
    assert not [button for button in app.button if button.key == "sweep_resume"]


def test_a_reload_finds_the_sweep_that_is_being_measured(app: AppTest) -> None:
    """Even if the address names only the sweep: a new session watches its job."""
    fill(app, batch_sizes="4, 100")
    app.button(key="sweep_start").click().run()
    run_until(app, lambda app: "Measuring: 3 of 12 cells so far." in words(app.markdown))
    again = AppTest.from_file(str(PROJECT / "streamlit_app.py"), default_timeout=LONG_S).run()
    again.switch_page(nav.SWEEP)
    named = app.query_params["sweep"]
    again.query_params["sweep"] = named[0] if isinstance(named, list) else named
    again.run()
    assert "Measuring: 3 of 12 cells so far." in words(again.markdown)
    assert any("for ever" in bar.text for bar in again.get("progress"))
    app.button(key="cancel_sweep").click().run()


def test_sweeps_are_listed_opened_deleted_and_restored(app: AppTest) -> None:
    sweep_id = store_a_sweep()
    app.run()
    assert "12 of 12 cells" in words(app.caption)
    app.button(key=f"sweep_open_{sweep_id}").click().run()
    assert "Finished: 12 of 12 cells." in words(app.markdown)
    app.button(key="sweep_delete").click().run()
    assert "sweep" not in app.query_params
    assert "The sweep is deleted." in words(app.caption)
    assert not [button for button in app.button if (button.key or "").startswith("sweep_open_")]
    app.button(key="sweep_undo").click().run()
    assert "Finished: 12 of 12 cells." in words(app.markdown)


def test_a_link_to_an_unknown_sweep_says_so(app: AppTest) -> None:
    opened(app, "0123456789ab")
    assert "no such sweep" in app.info[0].value
    assert not app.button(key="sweep_start").disabled


def test_a_shared_server_offers_no_deletion(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTPATH_HOSTED", "true")
    opened(app, store_a_sweep())
    assert "Finished: 12 of 12 cells." in words(app.markdown)
    assert not [button for button in app.button if button.key == "sweep_delete"]
    fill(app, batch_sizes="1,2,3,4,5,6")
    assert "36 cells are more than the 24 allowed" in words(app.caption)
