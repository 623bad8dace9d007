"""The queue is fair for any requests: every request has a place, none waits for ever, a visitor's order is kept."""

from hypothesis import given
from hypothesis import strategies as st

from engine.desk.fairness import Waiting, fair_order, next_for, place_of
from engine.desk.turns import Turns

VISITORS = st.sampled_from(["ann", "bob", "cem", ""])
MACHINES = st.sampled_from(["", "left", "right"])


def waiting(*who: str) -> list[Waiting]:
    return [Waiting(f"{visitor}{number}", visitor, "", number, 1.0) for number, visitor in enumerate(who, 1)]


def ids(order: list[Waiting]) -> list[str]:
    return [request.id for request in order]


def test_the_requests_of_one_visitor_run_in_order_of_arrival() -> None:
    assert ids(fair_order(reversed(waiting("ann", "ann", "ann")), (), {})) == ["ann1", "ann2", "ann3"]


def test_many_requests_of_one_visitor_do_not_delay_another() -> None:
    order = fair_order(waiting("ann", "ann", "ann", "bob"), (), {})
    assert ids(order) == ["ann1", "bob4", "ann2", "ann3"]


def test_a_visitor_with_a_running_request_comes_after_one_without() -> None:
    assert ids(fair_order(waiting("ann", "bob"), ["ann"], {})) == ["bob2", "ann1"]


def test_a_visitor_who_just_had_a_turn_comes_after_those_who_waited() -> None:
    assert ids(fair_order(waiting("ann", "bob"), (), {"ann": 9})) == ["bob2", "ann1"]


def test_a_machine_runs_requests_for_it_or_for_any() -> None:
    order = [Waiting("a", "ann", "left", 1, 1.0), Waiting("b", "bob", "", 2, 1.0)]
    assert next_for("left", order) == order[0]
    assert next_for("right", order) == order[1]
    assert next_for("right", order[:1]) is None
    assert next_for("left", order, excluded={"ann"}) == order[1]


def test_a_place_counts_only_requests_for_the_same_machine() -> None:
    left, right = Waiting("a", "ann", "left", 1, 1.0), Waiting("b", "bob", "right", 2, 1.0)
    either = Waiting("c", "cem", "", 3, 1.0)
    order = [left, right, either]
    assert [place_of(request, order, {"left"}) for request in order] == [1, 0, 3]


@given(st.lists(st.tuples(VISITORS, MACHINES), min_size=1, max_size=12), st.lists(VISITORS, max_size=2))
def test_every_request_keeps_a_place_and_every_visitor_their_order(
    asked: list[tuple[str, str]], served: list[str]
) -> None:
    queue = [Waiting(str(n), visitor, machine, n, 1.0) for n, (visitor, machine) in enumerate(asked)]
    order = fair_order(queue, served, {})
    assert sorted(order, key=lambda request: request.arrived) == queue
    for visitor, _ in asked:
        own = [request.arrived for request in order if request.visitor == visitor]
        assert own == sorted(own)


@given(st.lists(st.lists(VISITORS, max_size=3), min_size=1, max_size=12))
def test_between_two_turns_of_a_visitor_no_waiting_one_is_passed_over_twice(
    arrivals: list[list[str]],
) -> None:
    """One machine; after each turn some more visitors arrive. Only waiting turns count."""
    turns, number, passed = Turns(one_each=False), 0, {}
    for newcomers in [["ann", "ann", "bob"], *arrivals, *([[]] * 40)]:
        for visitor in newcomers:
            number += 1
            turns.add(f"{visitor} {number}", visitor, "", 1.0)
        for _, job_id in turns.hand_out([""]):
            visitor = job_id.split()[0] if " " in job_id.strip() else ""
            still_waiting = {request.visitor for request in turns.order()}
            passed = {who: [*passed.get(who, []), visitor] for who in still_waiting if who != visitor}
            for who, served in passed.items():
                assert len(served) == len(set(served)), f"{who} was passed over twice: {served}"
            turns.free("")
    assert not turns.has_work
