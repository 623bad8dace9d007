"""The plan and the record of a sweep: cells, order, limits, and what a file may hold."""

import json

import pytest

from engine.catalog.models import CATALOG
from engine.errors import Refusal
from engine.events import allocator_of, device_of, model_of, read_request, request_of
from engine.sweeps import (
    CELL_S,
    START_S,
    check_fits,
    checked_plan,
    expected_s,
    measuring_order,
    read_numbers,
    read_sweep,
)
from tests.sweep_samples import NOW, a_cell, a_plan, a_sweep

SHAPE = CATALOG["minilm"].shape
assert SHAPE is not None


def test_every_combination_is_a_cell_once() -> None:
    plan = a_plan(threads=(1, 2))
    assert plan.size == len(set(plan.places)) == 24
    assert plan.axes == ("batch_size", "length", "padding", "threads")
    assert {place.threads for place in plan.places} == {1, 2}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"batch_sizes": tuple(range(1, 102)), "lengths": (8, 9)}, "606 cells are more than the 200"),
        ({"lengths": (16, 16)}, "a value of the axis length is given twice"),
        ({"padding": (1.0,)}, "padding.0: Input should be less than 1"),
        ({"lengths": (2,)}, "lengths.0: Input should be greater than or equal to 3"),
        ({"paths": ("packed",)}, "the baseline 'slow' is not among the paths"),
        ({"batch_sizes": ()}, "batch_sizes: Tuple should have at least 1 item"),
        ({"cell_budget_s": 0}, "cell_budget_s"),
    ],
)
def test_a_plan_that_cannot_be_measured_is_refused_in_a_sentence(
    fields: dict[str, object], sentence: str
) -> None:
    with pytest.raises(Refusal, match=sentence):
        checked_plan(**{**a_plan().model_dump(), **fields})


def test_the_order_is_random_fixed_by_the_seed_and_keeps_numbers_of_threads_together() -> None:
    """A drift of the machine must not look like an axis; a path is prepared once for its threads."""
    plan = a_plan(threads=(2, 1))
    order = measuring_order(plan)
    assert sorted(order) == list(range(24))
    assert order == measuring_order(plan)
    assert order != measuring_order(plan.model_copy(update={"seed": 1}))
    assert [plan.places[number].threads for number in order] == [2] * 12 + [1] * 12
    assert list(order[:12]) != sorted(order[:12])
    assert measuring_order(plan, done=order[:20]) == order[20:]


def test_a_sweep_survives_its_json_and_knows_what_is_missing() -> None:
    sweep = a_sweep(cells=5)
    assert read_sweep(sweep.model_dump_json()) == sweep
    assert (sweep.state, a_sweep().state) == ("stopped", "finished")
    request = request_of(sweep)
    assert request.done == (0, 1, 2, 3, 4)
    assert request.sweep == sweep.model_copy(update={"cells": ()})
    assert request.like == sweep.measured[0][1]
    assert read_request(request.model_dump_json()) == request
    assert (model_of(request), device_of(request), allocator_of(request)) == ("minilm", "cpu", "system")


def _damaged(change: dict[str, object]) -> str:
    return json.dumps({**json.loads(a_sweep(cells=2).model_dump_json()), **change})


def test_a_file_that_is_no_sweep_is_refused() -> None:
    """A cell in a wrong place would show a figure of another batch."""
    plan, places = a_plan(), a_plan().places
    swapped = [a_cell(plan, number, place).model_dump(mode="json") for number, place in enumerate(places[:2])]
    swapped[0]["run"], swapped[1]["run"] = swapped[1]["run"], swapped[0]["run"]
    for text, sentence in (
        ("{}", "This sweep cannot be used: id"),
        ("no json", "This sweep cannot be used"),
        (_damaged({"schema_version": 2}), "schema_version"),
        (_damaged({"cells": [{"number": 0}]}), "a cell has a run, or the reason"),
        (_damaged({"cells": [{"number": 99, "reason": "x"}]}), "there is no place 99 among 12"),
        (_damaged({"cells": [{"number": 1, "reason": "x"}, {"number": 1, "reason": "y"}]}), "twice"),
        (_damaged({"cells": swapped}), "the run of cell 0 was not measured at its place"),
    ):
        with pytest.raises(Refusal, match=sentence):
            read_sweep(text)


def test_lengths_and_batches_beyond_the_limits_are_refused_before_anything_is_measured() -> None:
    check_fits(a_plan(lengths=(512,), batch_sizes=(256,)), SHAPE, 512, 256)
    check_fits(a_plan(lengths=(512,)), None, 512, 256)
    with pytest.raises(Refusal, match="513 tokens is more than the 512 that the model takes"):
        check_fits(a_plan(lengths=(16, 513)), SHAPE, 1024, 256)
    with pytest.raises(Refusal, match="300 tokens is more than the 256 that are allowed here"):
        check_fits(a_plan(lengths=(300,)), SHAPE, 256, 256)
    with pytest.raises(Refusal, match="257 texts is larger than the 256"):
        check_fits(a_plan(batch_sizes=(257,)), SHAPE, 512, 256)


def test_the_estimate_grows_with_the_cells_and_their_size() -> None:
    small = expected_s(a_plan(), SHAPE, threads=2)
    assert small > START_S + 12 * CELL_S
    assert expected_s(a_plan(), SHAPE, threads=2, done=range(12)) == START_S
    assert expected_s(a_plan(batch_sizes=(256,), lengths=(512,)), SHAPE, threads=2) > 10 * small


def test_lists_of_numbers_are_read_as_people_write_them() -> None:
    assert read_numbers(" 1, 8,32,", "--lengths") == (1, 8, 32)
    assert read_numbers("0, .3, 60%", "--padding", whole=False) == (0.0, 0.3, 0.6)
    for text in ("1,x", "1.5", "", " , "):
        with pytest.raises(Refusal, match="--lengths"):
            read_numbers(text, "--lengths")


def test_a_sweep_is_named_by_its_plan_and_its_time() -> None:
    assert a_sweep(cells=0).title == ("all-MiniLM-L6-v2: 4, 8 texts x 16, 64 tokens, 0%, 30%, 60% padding")
    assert a_sweep().created_at == NOW
