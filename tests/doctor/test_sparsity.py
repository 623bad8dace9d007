"""How much leaving padding out can gain: the bound by hand, the sweep's batches, the crossover, and what is kept."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.budget import SweepBudget, sweep_budget
from engine.diagnosis import Crossover, SweepPoint
from engine.doctor import sparsity
from engine.doctor.sparsity import (
    MIN_ROUNDS,
    RATIOS,
    SweepPlan,
    crossover,
    free_padding,
    padded_batch,
    sweep,
    swept_shape,
)
from engine.eligibility.facts import LayerFacts, MaskFacts, PaddingFacts
from engine.eligibility.reading import read_facts
from engine.eligibility.subject import admit
from engine.measure.environment import read_environment
from engine.measure.instruments import Instruments
from engine.records import Environment
from tests.doctor.cases import FFN, HEADS, LAYERS, WIDTH, call, encoder

PLAN = SweepPlan((4, 10), WIDTH, FFN, HEADS, LAYERS, torch.float32, "cpu")
BOOL = MaskFacts("bool", graded=False, clear=False)


class Ticking:
    """A clock that advances one second at each reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


LONG = SweepBudget(1e9, 1e9)


def instruments(clock: Callable[[], float] | None = None) -> Instruments:
    return Instruments(lambda _event: None, clock or Ticking(), lambda: datetime(2026, 11, 24, tzinfo=UTC))


def swept_at(forward_s: float, budget: SweepBudget) -> tuple[Crossover, float]:
    """A sweep of an encoder whose forward takes this long by the clock, and the seconds that the sweep took."""
    now_s, model = 0.0, encoder()

    def forward_is_over(*_: object) -> None:
        nonlocal now_s
        now_s += forward_s

    model.register_forward_hook(forward_is_over)
    return sweep(model, PLAN, instruments(lambda: now_s), 0, budget), now_s


def asked(folder: Path, environment: Environment) -> Crossover:
    """The crossover, called as an examination calls it."""
    run_sweep = partial(sparsity.sweep, encoder(), PLAN, instruments(), 0, LONG)
    return crossover(run_sweep, PLAN, environment, folder)


def layers() -> tuple[LayerFacts, ...]:
    return read_facts(admit(encoder(), call())).all_layers


def test_the_bound_by_hand() -> None:
    """Two texts of 8 and 2 tokens: matrix products grow with the tokens, attention with their square."""
    padding = PaddingFacts(BOOL, (8, 2), 8, 0, 0)
    found = free_padding(padding, layers())

    def operations(n: int) -> int:
        return 2 * n * (4 * WIDTH * WIDTH + 2 * WIDTH * FFN) + 4 * n * n * WIDTH

    assert (found.real_tokens, found.all_tokens, found.padding_ratio) == (10, 16, 6 / 16)
    assert found.bound == pytest.approx(2 * operations(8) / (operations(8) + operations(2)))


def test_without_padding_nothing_can_be_gained() -> None:
    """The bound is exactly one."""
    assert free_padding(PaddingFacts(BOOL, (8, 8), 8, 0, 0), layers()).bound == 1.0


@given(st.integers(2, 40), st.integers(2, 200), st.sampled_from(RATIOS), st.integers(0, 3))
def test_a_swept_batch_has_the_padding_it_is_named_for(
    rows: int, length: int, ratio: float, seed: int
) -> None:
    """As nearly as whole tokens allow; right-padded, one text as long as the batch, none empty."""
    plan = SweepPlan((rows, length), 4, FFN, HEADS, LAYERS, torch.float32, "cpu")
    states, padding = padded_batch(plan, ratio, seed)
    lengths = (~padding).sum(1)
    most = (rows - 1) * (length - 1) / (rows * length)
    assert states.shape == (rows, length, 4)
    assert int(lengths.max()) == length
    assert int(lengths.min()) >= 1
    assert bool((padding[:, 1:] >= padding[:, :-1]).all())
    assert float(padding.float().mean()) == pytest.approx(min(ratio, most), abs=1 / (rows * length) + 1e-6)


def test_a_sweep_is_paired_and_leaves_the_encoder_as_it_was() -> None:
    """Real forwards, and a clock that makes them equally long: no difference at any padding ratio."""
    model = encoder()
    found = sweep(model, PLAN, instruments(), 0, LONG)
    assert found.padding_ratios == RATIOS
    assert found.speedups == tuple(1.0 for _ in RATIOS)
    assert {(point.ci95, point.verdict) for point in found.points} == {((1.0, 1.0), "same")}
    assert {len(point.sparse_ms) for point in found.points} == {8}
    assert model.use_nested_tensor


@pytest.mark.parametrize("forward_s", [0.08, 0.12])
def test_a_slow_model_has_enough_rounds_for_every_interval(forward_s: float) -> None:
    """Eight rounds of six ratios do not fit into half of the usual 20 s here: the sweep takes the time it needs."""
    budget = sweep_budget(20.0)
    found, seconds = swept_at(forward_s, budget)
    assert {len(point.sparse_ms) for point in found.points} == {MIN_ROUNDS}
    assert all(point.ci95 and point.verdict == "same" for point in found.points)
    assert seconds <= budget.most_s


def test_a_model_that_is_too_slow_ends_at_the_most_time_allowed() -> None:
    """It overshoots by no more than one ratio with one round; the ratios that were measured have no interval."""
    budget = sweep_budget(20.0)
    found, seconds = swept_at(2.0, budget)
    calls_of_a_ratio = 2 * 2 + 3  # one to warm up and one to size the block, for both; then a round of three
    assert budget.most_s <= seconds <= budget.most_s + 2.0 * calls_of_a_ratio
    assert found.padding_ratios == RATIOS[: len(found.points)]
    assert all(0 < len(point.sparse_ms) < MIN_ROUNDS and not point.ci95 for point in found.points)


def test_a_quiet_sweep_is_kept_and_a_disturbed_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next examination uses the kept figures; figures from a busy machine are not kept."""
    environment = read_environment("cpu", None)
    busy: tuple[str, ...] = ("other processes used 50 % of the CPU",)
    monkeypatch.setattr(sparsity, "disturbances", lambda _conditions: busy)
    assert not asked(tmp_path, environment).cached
    assert not list(tmp_path.iterdir())
    busy = ()
    first = asked(tmp_path, environment)
    monkeypatch.setattr(sparsity, "sweep", lambda *_: pytest.fail("it was kept"))
    again = asked(tmp_path, environment)
    assert again == first.model_copy(update={"cached": True})


def test_a_damaged_file_is_swept_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a kept answer cannot be read, the sweep is repeated."""
    environment = read_environment("cpu", None)
    monkeypatch.setattr(sparsity, "disturbances", lambda _conditions: ())
    (tmp_path / f"sparsity-sweep-{PLAN.key(environment)}.json").write_text("{")
    assert not asked(tmp_path, environment).cached
    assert asked(tmp_path, environment).cached


def test_another_machine_or_size_is_another_answer() -> None:
    """The key contains everything that decides the answer."""
    environment = read_environment("cpu", None)
    other = environment.model_copy(update={"cpu": "another"})
    assert PLAN.key(environment) != PLAN.key(other)
    wider = SweepPlan((4, 10), 2 * WIDTH, FFN, HEADS, LAYERS, torch.float32, "cpu")
    assert PLAN.key(environment) != wider.key(environment)


def test_a_sweep_stays_quick() -> None:
    """Large batches are swept with fewer texts, but at least two, because one text has no padding."""
    assert swept_shape(8, 128) == (8, 128)
    assert swept_shape(64, 512) == (4, 512)
    assert swept_shape(1, 9000) == (2, 9000)


def test_the_record_reads_back() -> None:
    """It is kept as JSON."""
    point = SweepPoint(padding_ratio=0.0, speedup=1.0, ci95=(0.9, 1.1), verdict="not sure")
    found = Crossover(
        padding_ratios=(0.0,), speedups=(1.0,), points=(point,), shape=(1, 2),
        measured_at=datetime(2026, 11, 24, tzinfo=UTC),
    )  # fmt: skip
    assert Crossover.model_validate_json(found.model_dump_json()) == found


def test_a_record_of_an_older_version_reads_with_open_points() -> None:
    """It has figures and an interpolated crossover, and no intervals."""
    older = (
        '{"padding_ratios": [0.0, 0.5], "speedups": [0.9, 1.57], "crossover": 0.07, "shape": [3, 190],'
        ' "measured_at": "2026-11-20T00:00:00Z"}'
    )
    points = Crossover.model_validate_json(older).all_points
    assert [(point.padding_ratio, point.speedup, point.verdict) for point in points] == [
        (0.0, 0.9, None), (0.5, 1.57, None),
    ]  # fmt: skip
