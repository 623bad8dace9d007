"""The doctor's records: conditions, dangers, prediction, proof, cures and their timing.

A diagnosis is plain data, like a run: the page, the terminal and a test read the same record.
"""

from datetime import datetime
from typing import Literal

from pydantic import AliasChoices, Field, ValidationError

from engine.records import (
    Agreement,
    Batch,
    Environment,
    Interval,
    NoiseFloor,
    Record,
    VerdictWord,
    refusal_of,
)

Part = Literal["native MHA", "sparsity", "attention"]
"""What a condition decides: one fused operator per layer; nested tensors for the whole encoder; or the native attention
operator alone, in a layer that is not fused and in an `nn.MultiheadAttention` outside any layer."""

Taken = Literal["taken", "partly taken", "not taken", "taken but wrong"]
Effect = Literal["wrong", "not a number", "error", "ignored"]
"""What a danger does: outputs that are silently wrong, NaN, an exception, or a setting that torch ignores."""


_HEADLINES: dict[Taken, str] = {
    "taken": "The fastpath is taken",
    "partly taken": "The fastpath is partly taken",
    "not taken": "The fastpath is not taken",
    "taken but wrong": "The fastpath is taken and its answer is wrong",
}


def headline_of(verdict: Taken, *, raises: bool, agrees: bool) -> str:
    """A verdict in words, as a diagnosis's `summary` and every page begin.

    Args:
        raises: the forward ends with an error.
        agrees: the outputs were compared with the slow path's and agree; they may agree by chance, as with an adapter
            of zeros.
    """
    if raises:
        return "The forward ends with an error"
    if verdict == "taken but wrong" and agrees:
        return "The fastpath is taken and its answer cannot be trusted"
    return _HEADLINES[verdict]


class Check(Record):
    """One condition that torch checks before it takes a fastpath, applied to this model, batch and setting."""

    key: str
    part: Part
    module: str
    """Where in the model: the dotted name of the encoder, the layer or the attention."""
    needs: str
    has: str
    ok: bool
    failing_layers: tuple[int, ...] = ()
    """Layers in which it fails; empty for conditions of the whole encoder."""
    why: str
    """Why torch has this condition."""
    cure: str = ""
    """One line of code; empty if the condition is met, or if only new training helps."""
    torch_says: str = ""
    """The beginning of torch's own reason if this condition fails; torch never shows it."""


class Danger(Record):
    """Something torch does not report: the fastpath would be wrong, fail, or not do what was asked."""

    key: str
    effect: Effect
    module: str
    has: str
    why: str
    cure: str


class Counts(Record):
    """How often the fastpath's operators run in one forward of the whole model."""

    fused_layers: int
    """Calls of `aten::_transformer_encoder_layer_fwd`."""
    nested_conversions: int
    """Calls of `aten::_nested_tensor_from_mask`."""
    native_attentions: int
    """Calls of `aten::_native_multi_head_attention` outside a fused layer."""


class Prediction(Record):
    """What the conditions predict; counts are None if an exception is predicted."""

    counts: Counts | None
    error: str = ""
    """Why the forward will raise; empty if it will not."""


class TorchReason(Record):
    """A reason that torch computed in one of its functions and did not show."""

    where: Literal["nn.TransformerEncoder", "nn.TransformerEncoderLayer", "nn.MultiheadAttention"]
    reason: str
    calls: int


class Proof(Record):
    """What happened in one forward: operators that the profiler counted, and reasons from torch's own variables."""

    counts: Counts
    error: str = ""
    """The exception that the forward raised; empty if it raised none."""
    torch_reasons: tuple[TorchReason, ...] = ()


class Timing(Record):
    """The time of a state, measured in paired rounds with all other states."""

    median_ms: float
    speedup: float
    """Time of the baseline state / time of this one."""
    speedup_ci95: Interval | None = None
    verdict: VerdictWord | None = None
    samples_ms: tuple[float, ...] = ()


class State(Record):
    """The slow path, the model as it is, or a copy after one more cure: its proof, its answer and its time."""

    name: str
    title: str
    cure: str = ""
    """The line of code that this state adds to the one before; empty for the slow path and the model as it is."""
    prediction: Prediction
    proof: Proof
    agreement: Agreement | None = None
    """Against the slow path of the same state, on real tokens; None if there is nothing to compare."""
    drift: Agreement | None = None
    """Against the slow path of the model as it is: whether the cure itself changes the answer."""
    timing: Timing | None = None
    offered: bool = True
    """False if the result would be silently wrong: the state is shown, but never recommended."""


class SweepPoint(Record):
    """One padding ratio of a sweep: fused layers without sparsity against the same with it."""

    padding_ratio: float
    speedup: float
    """Time without sparsity / with it, median of the rounds' ratios."""
    ci95: Interval | None = None
    """Interval of the speedup; the intervals of all points hold together with 95 % confidence."""
    verdict: VerdictWord | None = None
    """Verdict on sparsity; None in records of older versions, which had no interval."""
    dense_ms: tuple[float, ...] = ()
    """Milliseconds per forward without sparsity, one sample a round."""
    dense_again_ms: tuple[float, ...] = ()
    """The same a second time in each round: the noise floor."""
    sparse_ms: tuple[float, ...] = ()


class Crossover(Record):
    """How the gain from sparsity grows with the padding ratio, on this machine, for this encoder and batch shape."""

    padding_ratios: tuple[float, ...]
    speedups: tuple[float, ...]
    """Fused layers without sparsity / with it, median of paired ratios at each padding ratio."""
    crossover: float | None = None
    """Not used: older versions stored an interpolated ratio here, from speedups without intervals."""
    points: tuple[SweepPoint, ...] = ()
    """The swept ratios with intervals and verdicts; empty in records of older versions."""
    shape: tuple[int, int]
    """(texts, longest length) of the swept batches."""
    measured_at: datetime
    cached: bool = False
    disturbance: str = ""
    """Why the machine was not quiet during the sweep; empty if it was."""

    @property
    def all_points(self) -> tuple[SweepPoint, ...]:
        """The points; those of a record of an older version have no interval and no verdict."""
        pairs = zip(self.padding_ratios, self.speedups, strict=True)
        return self.points or tuple(SweepPoint(padding_ratio=ratio, speedup=seen) for ratio, seen in pairs)


class Sparsity(Record):
    """How much leaving padding out can gain for this batch, and how much it does gain."""

    real_tokens: int
    all_tokens: int
    padding_ratio: float
    bound: float
    """Speedup if padding were free: floating-point operations of all tokens / of the real ones."""
    measured: Timing | None = None
    """Fused layers with sparsity against the same without it."""
    crossover: Crossover | None = None


class Diagnosis(Record):
    """Everything the doctor found in one examination."""

    schema_version: Literal[1] = 1
    created_at: datetime
    title: str
    model: str
    batch: Batch | None = None
    modifications: tuple[str, ...] = Field(
        (), validation_alias=AliasChoices("modifications", "circumstances")
    )
    """Names of the changes made on purpose before the examination (engine/catalog/modifications.py).

    Files of older versions call them `circumstances`.
    """
    environment: Environment
    layers: int
    """Encoder layers in the whole model."""
    verdict: Taken
    summary: str
    """What is taken, and what prevents the rest, in a sentence or two: for readers of the JSON and in notebooks."""
    explanation: str = ""
    """The summary without the verdict; empty in diagnoses of older versions."""
    checks: tuple[Check, ...]
    dangers: tuple[Danger, ...] = ()
    dangers_after_cures: tuple[Danger, ...] = ()
    """Dangers that appear only after a cure, such as left padding: it does no harm while gradients are on."""
    findings: tuple[str, ...] = ()
    """Where prediction and proof disagree; the proof wins."""
    states: tuple[State, ...]
    """The slow path first, then the model as it is, then one state after each further cure."""
    baseline: str = ""
    """Name of the state that speedups are relative to: the model as it is, or the slow path if that cannot run."""
    not_tried: tuple[str, ...] = ()
    """Cures that were named and not tried, each with its reason."""
    noise_floor: NoiseFloor = NoiseFloor()
    rounds: int = 0
    stop_reason: str = ""
    sparsity: Sparsity | None = None

    def state(self, name: str) -> State:
        """The state of this name.

        Raises:
            KeyError: the diagnosis has no such state.
        """
        for state in self.states:
            if state.name == name:
                return state
        raise KeyError(name)

    @property
    def failing(self) -> tuple[Check, ...]:
        """The conditions that are not met, in torch's order."""
        return tuple(check for check in self.checks if not check.ok)


SLOW, AS_IT_IS, WITHOUT_SPARSITY = "slow", "as it is", "without sparsity"
"""Names of states that every diagnosis may have; the state after a cure has the cure's key as its name."""


def read_diagnosis(text: str | bytes) -> Diagnosis:
    """Read a diagnosis from its JSON.

    Raises:
        Refusal: not JSON, of another schema version, or with a field that does not fit.
    """
    try:
        return Diagnosis.model_validate_json(text)
    except ValidationError as error:
        raise refusal_of(error, "diagnosis") from None
