"""Where packed rows come from: every real token once, groups that cover all texts, and little masked work."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.packing.plan import MOST_SCORES, NEAR, SPREAD, Plan, cut, groups_of, plan_of

masks = st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=9)


def plan(rows: list[list[bool]]) -> Plan:
    return plan_of(torch.tensor(rows))


@given(masks)
def test_every_real_token_is_packed_once_and_text_by_text(rows: list[list[bool]]) -> None:
    real = torch.tensor(rows)
    found = plan(rows)
    assert sorted(found.places.tolist()) == real.view(-1).nonzero().view(-1).tolist()
    owners = (found.places // 7).tolist()
    ranges = zip(found.starts, found.starts[1:], strict=False)
    assert [set(owners[start:stop]) for start, stop in ranges] == [{text} for text in found.texts]


@given(masks)
def test_tokens_of_a_text_keep_their_order(rows: list[list[bool]]) -> None:
    found = plan(rows)
    for start, stop in zip(found.starts, found.starts[1:], strict=False):
        assert found.places[start:stop].tolist() == sorted(found.places[start:stop].tolist())


@given(masks)
def test_the_groups_cover_the_rows_and_a_padded_group_gives_each_row_back(rows: list[list[bool]]) -> None:
    found = plan(rows)
    edges = [edge for group in groups_of(found) for edge in (group.first, group.last)]
    assert edges[::2] == [0, *edges[1::2]][:-1] if edges else not found.texts
    for group in groups_of(found):
        if group.spread is not None:
            assert group.kept is not None
            assert group.spread[group.kept].tolist() == list(range(group.last - group.first))


@given(st.lists(st.integers(1, 512), min_size=1, max_size=80))
def test_a_group_holds_texts_of_like_length_and_not_too_many(lengths: list[int]) -> None:
    ordered = sorted(lengths, reverse=True)
    groups = cut(ordered)
    assert [first for first, _ in groups] == [0, *(last for _, last in groups)][:-1]
    assert groups[-1][1] == len(ordered)
    for first, last in groups:
        longest, shortest = ordered[first], ordered[last - 1]
        assert longest - shortest <= max(NEAR, longest // SPREAD)
        assert last - first == 1 or (last - first) * longest**2 <= MOST_SCORES


def test_texts_of_one_length_need_no_mask() -> None:
    assert [group.masked for group in groups_of(plan([[True] * 7] * 3))] == [None]
