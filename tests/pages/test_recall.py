"""A repeated experiment is answered from the store."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.host import this_host, threads_here
from engine.records import Experiment, Run
from engine.store.opening import FILE_NAME
from engine.store.store import Store
from pages.kit.recall import build_here, is_same_model, recall
from tests.pages.on_history import NOW
from tests.pages.test_app import SAMPLE

pytestmark = pytest.mark.usefixtures("store")


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
