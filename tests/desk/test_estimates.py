"""Estimates of waiting: from the jobs before, added up along the queue."""

import pytest

from engine.desk.estimates import START_S, Duration, expected_s, left_s, starts_in_s
from engine.desk.fairness import Waiting
from engine.events import DoctorRequest, LoadRequest, RunRequest
from engine.records import Batch, Experiment

BATCH = Batch(name="one", texts=("one",))
RUN = RunRequest(experiment=Experiment(model="small", batch=BATCH, paths=("slow",), budget_s=20))
PAST = [
    Duration("run", "small", 10.0),
    Duration("run", "large", 90.0),
    Duration("run", "small", 14.0),
    Duration("doctor", "small", 40.0),
]


def test_the_same_model_comes_first() -> None:
    assert expected_s(RUN, PAST) == 12.0


def test_another_model_is_used_if_there_is_no_other() -> None:
    assert expected_s(RUN, PAST[1:2]) == 90.0


def test_the_first_estimate_comes_from_the_budget() -> None:
    assert expected_s(RUN, []) == START_S + 20
    assert expected_s(DoctorRequest(model="small", batch=BATCH, budget_s=0), []) == START_S
    assert expected_s(LoadRequest(model="small"), []) == START_S


@pytest.mark.parametrize(("running_s", "left"), [(0.0, 50.0), (40.0, 10.0), (49.0, 5.0), (900.0, 5.0)])
def test_a_job_that_takes_longer_than_expected_still_has_time_left(running_s: float, left: float) -> None:
    assert left_s(50.0, running_s) == left


def test_waits_add_up_along_the_queue_and_machines_share_it() -> None:
    queue = [
        Waiting("a", "ann", "", 1, 10.0),
        Waiting("b", "bob", "left", 2, 10.0),
        Waiting("c", "cem", "", 3, 10.0),
        Waiting("d", "dan", "gone", 4, 10.0),
    ]
    assert starts_in_s(queue, {"left": 5.0, "right": 1.0}) == {"a": 1.0, "b": 5.0, "c": 11.0}
