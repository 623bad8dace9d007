"""How much leaving out padding can give: the bound by hand, the sweep's batches, the crossing, and what is kept."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.diagnosis import Crossover
from engine.doctor import sparsity
from engine.doctor.sparsity import (
    RATIOS,
    SweepPlan,
    crossover,
    first_crossing,
    free_padding,
    padded_batch,
    sweep,
    swept_shape,
)
from engine.eligibility.facts import LayerFacts, MaskFacts, PaddingFacts, read_facts
from engine.eligibility.subject import admit
from engine.measure.environment import read_environment
from engine.measure.instruments import Instruments
from engine.records import Environment
from tests.doctor.cases import FFN, HEADS, LAYERS, WIDTH, call, encoder

PLAN = SweepPlan((4, 10), WIDTH, FFN, HEADS, LAYERS, torch.float32, "cpu")
BOOL = MaskFacts("bool", graded=False, clear=False)


class Ticking:
    """A clock on which every look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def instruments() -> Instruments:
    return Instruments(lambda _event: None, Ticking(), lambda: datetime(2026, 11, 24, tzinfo=UTC))


def asked(folder: Path, environment: Environment) -> Crossover:
    """The crossover as an examination asks for it."""
    run_sweep = partial(sparsity.sweep, encoder(), PLAN, instruments(), 0, 1e9)
    return crossover(run_sweep, PLAN, environment, folder, Ticking())


def layers() -> tuple[LayerFacts, ...]:
    return read_facts(admit(encoder(), call())).all_layers


def test_the_bound_by_hand() -> None:
    """Two texts of 8 and 2 tokens: matrices grow with the tokens, attention with their square."""
    padding = PaddingFacts(BOOL, (8, 2), 8, 0, 0)
    found = free_padding(padding, layers())

    def operations(n: int) -> int:
        return 2 * n * (4 * WIDTH * WIDTH + 2 * WIDTH * FFN) + 4 * n * n * WIDTH

    assert (found.real_tokens, found.all_tokens, found.padding_ratio) == (10, 16, 6 / 16)
    assert found.bound == pytest.approx(2 * operations(8) / (operations(8) + operations(2)))


def test_without_padding_nothing_can_be_gained() -> None:
    """A bound of exactly one."""
    assert free_padding(PaddingFacts(BOOL, (8, 8), 8, 0, 0), layers()).bound == 1.0


@given(st.integers(2, 40), st.integers(2, 200), st.sampled_from(RATIOS), st.integers(0, 3))
def test_a_swept_batch_has_the_padding_it_is_named_for(
    rows: int, length: int, ratio: float, seed: int
) -> None:
    """As near as whole tokens allow, right-padded, one text as long as the batch, none empty."""
    plan = SweepPlan((rows, length), 4, FFN, HEADS, LAYERS, torch.float32, "cpu")
    states, padding = padded_batch(plan, ratio, seed)
    lengths = (~padding).sum(1)
    most = (rows - 1) * (length - 1) / (rows * length)
    assert states.shape == (rows, length, 4)
    assert int(lengths.max()) == length
    assert int(lengths.min()) >= 1
    assert bool((padding[:, 1:] >= padding[:, :-1]).all())
    assert float(padding.float().mean()) == pytest.approx(min(ratio, most), abs=1 / (rows * length) + 1e-6)


@pytest.mark.parametrize(
    ("speedups", "crossing"),
    [
        ((0.8, 1.2, 1.5), 0.25),
        ((1.1, 1.2, 1.5), 0.0),
        ((0.5, 0.6, 0.9), None),
        ((1.1, 0.9, 1.1), 0.75),
    ],
)
def test_sparsity_pays_from_the_last_crossing_on(speedups: tuple[float, ...], crossing: float | None) -> None:
    """On a straight line between neighbours; a lucky figure before a worse one does not count."""
    found = first_crossing((0.0, 0.5, 1.0), speedups)
    assert found == (None if crossing is None else pytest.approx(crossing))


def test_a_sweep_is_paired_and_leaves_the_encoder_as_it_was() -> None:
    """Real forwards, a clock that makes all of them equally long: no difference at any padding."""
    model = encoder()
    found = sweep(model, PLAN, instruments(), seed=0, budget_s=1e9)
    assert found.padding_ratios == RATIOS
    assert found.speedups == tuple(1.0 for _ in RATIOS)
    assert found.crossover is None
    assert model.use_nested_tensor


def test_a_quiet_sweep_is_kept_and_a_disturbed_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next doctor gets the kept figures at once; figures of a busy machine must not stay."""
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
    """A kept answer that cannot be read costs a sweep, nothing else."""
    environment = read_environment("cpu", None)
    monkeypatch.setattr(sparsity, "disturbances", lambda _conditions: ())
    (tmp_path / f"crossover-{PLAN.key(environment)}.json").write_text("{")
    assert not asked(tmp_path, environment).cached
    assert asked(tmp_path, environment).cached


def test_another_machine_or_size_is_another_answer() -> None:
    """The key holds what decides the answer."""
    environment = read_environment("cpu", None)
    other = environment.model_copy(update={"cpu": "another"})
    assert PLAN.key(environment) != PLAN.key(other)
    wider = SweepPlan((4, 10), 2 * WIDTH, FFN, HEADS, LAYERS, torch.float32, "cpu")
    assert PLAN.key(environment) != wider.key(environment)


def test_a_sweep_stays_quick() -> None:
    """Fewer texts where the batch holds many tokens; never fewer than two, or there could be no padding."""
    assert swept_shape(8, 128) == (8, 128)
    assert swept_shape(64, 512) == (8, 512)
    assert swept_shape(1, 9000) == (2, 9000)


def test_the_record_reads_back() -> None:
    """It is kept as JSON."""
    found = Crossover(
        padding_ratios=(0.0,), speedups=(1.0,), crossover=None, shape=(1, 2),
        measured_at=datetime(2026, 11, 24, tzinfo=UTC),
    )  # fmt: skip
    assert Crossover.model_validate_json(found.model_dump_json()) == found
