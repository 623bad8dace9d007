"""The records of the lab: models, batches, experiments and runs, as frozen, validated, versioned JSON.

A run stores its raw samples, so a newer rule can compute every conclusion from them again.
Names have their unit (`_ms`, `_mb`, `_s`). The JSON's names do not change (docs/architecture.md).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import Refusal

SCHEMA_VERSION: Literal[1] = 1

DType = Literal["fp32", "bf16", "fp16"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""What a path may compute in: a model's dtype, or 8-bit integers made from it."""
Status = Literal["ok", "failed", "unavailable"]
VerdictWord = Literal["faster", "slower", "same", "not sure"]
Allocator = Literal["kept", "system"]
"""Freed memory stays in the process ("kept"), or the platform's allocator decides ("system": engine/allocator.py)."""
DEFAULT_ALLOCATOR: Allocator = "kept"
"""The allocator of new experiments and examinations, unless the user chooses another.

It is not the default of the records' field: a stored record without the field was measured with the system's.
"""
SourceKind = Literal["embedded", "torchtext", "random", "folder", "hub"]
Interval = tuple[float, float]

MOST_ROUNDS = 10_000
"""Largest number of rounds in a run: ten times what may be asked for, so that a run can be continued."""
MOST_PATHS = 100
MOST_BYTES = 64_000_000
"""Longest JSON that is read as a run; a run of 60 rounds on ten paths has about 0.3 MB."""
MOST_THREADS = 8192
"""Larger than the number of cores of any machine. A measuring machine has its own limit: the cores it may use."""
MOST_SEED = 2**63 - 1
MOST_ROWS = 1_000_000_000
"""Larger than any size of an encoder; the sizes of a damaged config.json may be larger than any number of bytes."""
MOST_LAYERS = 10_000
MOST_TEXTS, MOST_LENGTH = 4096, 8192
"""Largest made batch; settings and the model's longest text are usually stricter."""
FEWEST_TOKENS = 3
"""Of a text in a made batch: one drawn token between the two special ones."""

Milliseconds = Annotated[float, Field(ge=0, le=1e12)]
SampleMs = Annotated[float, Field(ge=1e-6, le=1e9)]
"""Time of one forward: from a nanosecond to twelve days, so that the ratio of two is always a finite number."""
Samples = Annotated[tuple[SampleMs, ...], Field(max_length=MOST_ROUNDS)]

_OLD_STANDING_NOTE = "the process is held"
BYTES_PER_VALUE: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
MEGABYTE = 1_000_000


class Record(BaseModel):
    """A frozen value. An unknown field is an error, and so is NaN or an infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EncoderShape(Record):
    """The sizes of an encoder of the RoBERTa family: torchtext's `RobertaEncoderConf` and the eps of its norms."""

    vocab_size: int = Field(gt=0, le=MOST_ROWS)
    embedding_dim: int = Field(gt=0, le=MOST_ROWS)
    ffn_dimension: int = Field(gt=0, le=MOST_ROWS)
    num_attention_heads: int = Field(gt=0, le=MOST_ROWS)
    num_encoder_layers: int = Field(gt=0, le=MOST_LAYERS)
    padding_idx: int = Field(ge=0, le=MOST_ROWS)
    max_seq_len: int = Field(gt=2, le=2 * MOST_ROWS + 1)
    layer_norm_eps: float = Field(gt=0)

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.embedding_dim % self.num_attention_heads:
            raise ValueError(
                f"{self.num_attention_heads} heads do not divide a width of {self.embedding_dim}"
            )
        return self

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special tokens included: the rows of the position table after the padding row."""
        return self.max_seq_len - self.padding_idx - 1

    @property
    def parameters(self) -> int:
        """Number of parameters of the encoder, without a head."""
        d, ffn = self.embedding_dim, self.ffn_dimension
        attention = 4 * d * d + 4 * d
        feed_forward = 2 * d * ffn + ffn + d
        layer = attention + feed_forward + 4 * d
        return (self.vocab_size + self.max_seq_len) * d + 2 * d + self.num_encoder_layers * layer

    @property
    def parameters_of_layers(self) -> int:
        """Number of parameters of the layers alone: each takes part in one multiplication for every token."""
        return self.parameters - (self.vocab_size + self.max_seq_len) * self.embedding_dim

    def weights_mb(self, dtype: DType) -> float:
        """Size of the encoder's weights in MB at this precision."""
        return self.parameters * BYTES_PER_VALUE[dtype] / MEGABYTE


class ModelSpec(Record):
    """A model on offer, before it is loaded: its name, shape and source."""

    name: str
    title: str
    source: SourceKind
    shape: EncoderShape | None = None
    """None if only the files have it: a local folder or a hub id."""
    note: str = ""
    download_mb: int = 0


class ModelCard(Record):
    """The model that was loaded: shown on the Model page and stored with every run."""

    name: str
    title: str
    source: str
    checksum: str
    """SHA-256 of the weights' file, or the seed of random weights."""
    real_weights: bool
    tokenizer: str
    shape: EncoderShape
    parameters: int
    memory_mb: float
    dtype: DType
    device: str
    load_ms: float
    notes: tuple[str, ...] = ()


class MadeBatch(Record):
    """How a batch without texts is made: token ids are drawn, so its shape and a seed say everything about it."""

    rows: int = Field(ge=1, le=MOST_TEXTS)
    """Number of texts."""
    length: int = Field(ge=FEWEST_TOKENS, le=MOST_LENGTH)
    """Tokens of the longest text, special tokens included."""
    padding_ratio: float = Field(ge=0, lt=1)
    """What was asked for; the batch's own `padding_ratio` is as close as whole tokens allow."""
    seed: int = Field(0, ge=0, le=MOST_SEED)
    """Of the drawn ids."""


class Batch(Record):
    """Texts that go through the encoder together, or a made batch.

    The last four fields are set when texts are tokenized; a made batch has them from the start.
    """

    name: str = Field(min_length=1, max_length=80)
    texts: tuple[str, ...] = ()
    """Empty only in a made batch."""
    made: MadeBatch | None = None
    """How the batch was made, if it has no texts; None in older records."""
    lengths: tuple[int, ...] = ()
    """Real tokens of each text after truncation, special tokens included."""
    padding_ratio: float | None = None
    """Padding tokens / all tokens of the right-padded batch."""
    shape: tuple[int, int] | None = None
    """(texts, longest length) of the token tensor."""
    truncated: tuple[int, ...] = ()
    """Indices of the texts that were cut to the longest length that the model or the settings allow."""

    @model_validator(mode="after")
    def _one_length_a_text(self) -> Self:
        if bool(self.texts) == bool(self.made):
            raise ValueError("a batch has texts, or says how it was made")
        if (self.lengths or self.made) and len(self.lengths) != self.rows:
            raise ValueError(f"{len(self.lengths)} lengths for {self.rows} texts")
        if self.made and (self.lengths[0] != self.made.length or not _are_lengths(self.lengths)):
            raise ValueError("the lengths of a made batch begin with its longest, and none is below 3")
        return self

    @property
    def rows(self) -> int:
        """Number of texts."""
        return self.made.rows if self.made else len(self.texts)

    @property
    def real_tokens(self) -> int:
        """Tokens that are not padding."""
        return sum(self.lengths)


def _are_lengths(lengths: tuple[int, ...]) -> bool:
    return min(lengths) >= FEWEST_TOKENS and max(lengths) == lengths[0]


class Experiment(Record):
    """What to measure. It is complete, so the same experiment can be run again on another machine."""

    model: str
    batch: Batch
    device: str = "cpu"
    dtype: DType = "fp32"
    threads: int | None = Field(None, gt=0, le=MOST_THREADS)
    """Threads of torch's intra-op pool; with None torch chooses, and the run records the number."""
    paths: tuple[str, ...] = Field(min_length=1, max_length=MOST_PATHS)
    baseline: str = "slow"
    seed: int = Field(0, ge=0, le=MOST_SEED)
    budget_s: float = Field(60.0, gt=0)
    iterations: int | None = Field(None, ge=1, le=1000)
    """A fixed number of rounds, as in the tutorial (10); None measures until the answer is precise enough."""
    allocator: Allocator = "system"
    """Older records lack the field and were measured with the system's; new experiments set DEFAULT_ALLOCATOR."""

    @model_validator(mode="after")
    def _baseline_is_measured_once(self) -> Self:
        if len(set(self.paths)) != len(self.paths):
            raise ValueError("a path is named twice")
        if self.baseline not in self.paths:
            raise ValueError(f"the baseline {self.baseline!r} is not among the paths {', '.join(self.paths)}")
        return self


class Environment(Record):
    """The machine, the libraries and how busy it was."""

    torch: str
    torchtext: str
    bridge: Literal["native", "bridged"]
    python: str
    platform: str
    cpu: str
    cpu_capability: str
    cores: int
    threads: int
    memory_mb: float
    device_name: str
    machine: str = ""
    """Host name of the machine that measured."""
    cuda: str | None = None
    driver: str | None = None
    libraries: dict[str, str] = {}
    """Versions of numpy, MKL and oneDNN."""
    allocator: dict[str, str] = {}
    """Environment variables that configure the memory allocator; empty if none is set."""
    allocator_in_force: str = ""
    """The allocator that measured, in words; empty in older runs (`allocator_words` derives it from the variables)."""
    load_before: float | None = None
    load_after: float | None = None
    quiet: bool = True
    notes: tuple[str, ...] = ()
    """Why the machine was not quiet: the standing notes first, then what disturbed the rounds."""
    standing_notes: tuple[str, ...] = ()
    """Notes that do not depend on the rounds, such as a CPU quota."""

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_version(cls, data: Any) -> Any:
        """Older runs lack `standing_notes`: their only standing note is found in `notes` by its first words."""
        if isinstance(data, dict) and "standing_notes" not in data:
            found = [note for note in data.get("notes") or () if str(note).startswith(_OLD_STANDING_NOTE)]
            return {**data, "standing_notes": found}
        return data


class Agreement(Record):
    """How far a path's hidden states differ from the baseline's, on real tokens only."""

    max_abs_error: float | None
    """None if an output is NaN or infinite."""
    tolerance: float = Field(gt=0)
    ok: bool

    @model_validator(mode="after")
    def _agrees_by_a_number(self) -> Self:
        if self.ok and self.max_abs_error is None:
            raise ValueError("outputs that are not numbers cannot agree")
        return self


class Evidence(Record):
    """A path's claim about its execution, and the operator counts per forward that prove or refute it."""

    claim: str
    ops: dict[str, float]
    ok: bool


class OperatorTime(Record):
    """One operator in a profile: calls and times per forward, in profiler time."""

    name: str
    calls: float
    self_ms: float
    total_ms: float
    share: float
    """Self time / sum of all self times."""


class Profile(Record):
    """Per-operator table from separate, profiled forwards; never mixed with timing."""

    iterations: int
    overhead: float
    """Profiled time of a forward / its measured median."""
    ops: tuple[OperatorTime, ...]
    groups: dict[str, Milliseconds] = {}
    """Self time in ms per forward by operator group (engine/analysis/groups.py)."""


class Conditions(Record):
    """The state of the machine during one round; a share is None if the platform does not measure it."""

    wall_s: float
    load: float | None = None
    others_share: float | None = None
    """Share of all cores' time that other processes used."""
    steal_share: float | None = None
    """Share of all cores' time that the hypervisor gave to another guest."""
    own_share: float | None = None
    """Share of all cores' time that this process used."""
    involuntary_switches: int | None = None
    """How often the kernel took a core away from this process."""
    pulse_ms: float
    """Time of a short test calculation, the same in every round."""


class PathResult(Record):
    """One execution path in one run."""

    name: str
    dtype: Precision
    status: Status
    reason: str = ""
    prepare_ms: Milliseconds | None = None
    """Time to prepare the path once from the loaded model: packing, converting, exporting."""
    prepare_note: str = ""
    """What `prepare_ms` does not include, or what had been done before, in words; may be empty."""
    weights_mb: float | None = None
    """Weights in MB that the path holds beside the model's own; 0 if it runs on the model itself."""
    first_call_ms: Milliseconds | None = None
    samples_ms: Samples = ()
    """Milliseconds per forward, one sample a round."""
    calls_per_sample: int = Field(1, ge=1, le=1_000_000_000)
    """Forwards that one sample averages over; more than 1 if a forward is too short to be timed alone."""
    warm_up_calls: int = 0
    median_ms: SampleMs | None = None
    ci95_ms: Interval | None = None
    speedup: float | None = None
    """Baseline time / this path's time, median over rounds; above 1 is faster than the baseline."""
    speedup_ci95: Interval | None = None
    verdict: VerdictWord | None = None
    verdict_reason: str = ""
    next_step: str = ""
    agreement: Agreement | None = None
    real_tokens_per_s: float | None = None
    peak_memory_mb: float | None = None
    page_faults: int | None = None
    """Minor page faults per forward; None if the platform does not count them."""
    evidence: Evidence | None = None
    profile: Profile | None = None


class NoiseFloor(Record):
    """The baseline against itself, run a second time in every round: smaller differences cannot be seen."""

    samples_ms: Samples = ()
    ci95: Interval | None = None


class Roofline(Record):
    """The peaks of the machine on the threads in use (engine/measure/roofline.py)."""

    matmul_gflops: dict[Precision, float]
    """Largest GFLOP/s of a large linear layer, by precision; without precisions that the machine has no units for."""
    memory_gb_s: float
    """Bytes read and written per second by a large copy."""


class Run(Record):
    """A finished experiment: what was asked, on which machine, the samples, and the conclusions."""

    schema_version: Literal[1] = SCHEMA_VERSION
    id: str
    created_at: datetime
    title: str
    experiment: Experiment
    model_card: ModelCard | None = None
    environment: Environment
    paths: tuple[PathResult, ...] = Field(max_length=MOST_PATHS)
    noise_floor: NoiseFloor = NoiseFloor()
    rounds: int = Field(ge=1, le=MOST_ROUNDS)
    stop_reason: str
    order: tuple[tuple[str, ...], ...] = Field((), max_length=MOST_ROUNDS)
    conditions: tuple[Conditions, ...] = Field((), max_length=MOST_ROUNDS)
    """The machine's state in each round."""
    roofline: Roofline | None = None
    """The peaks of the machine; None in older runs, and if memory was too short to measure them."""
    continues: str = ""
    """Id of the run whose rounds come first in this one; empty if the run continues none."""
    sessions: tuple[Annotated[int, Field(ge=1)], ...] = Field((), max_length=MOST_ROUNDS)
    """Rounds of each measuring process, in order; empty if one process measured all rounds."""

    @property
    def looks(self) -> int:
        """How many times the rounds have been judged: once, and once more each time the run was continued."""
        return max(1, len(self.sessions))

    @model_validator(mode="after")
    def _can_be_concluded(self) -> Self:
        wrong = _missing_or_double(self) or _uneven(self)
        if wrong:
            raise ValueError(wrong)
        return self

    def path(self, name: str) -> PathResult:
        """The result of the path of this name.

        Raises:
            KeyError: the run has no such path.
        """
        for result in self.paths:
            if result.name == name:
                return result
        raise KeyError(name)

    @property
    def baseline(self) -> PathResult:
        """The result of the baseline, which speedups are relative to."""
        return self.path(self.experiment.baseline)


def _missing_or_double(run: Run) -> str:
    """Which path has no result or two results; empty if none does."""
    names = [path.name for path in run.paths]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        return f"the path {double!r} has two results"
    missing = next((name for name in run.experiment.paths if name not in names), None)
    return "" if missing is None else f"the path {missing!r} of the experiment has no result"


def _uneven(run: Run) -> str:
    """Which samples are missing, or do not have one value for each round; empty if none are."""
    baseline = run.experiment.baseline
    for path in run.paths:
        if not path.samples_ms and (path.status == "ok" or path.name == baseline):
            return f"the path {path.name!r} has no samples"
    counted: list[tuple[str, Sequence[object]]] = [
        *((f"samples of the path {path.name!r}", path.samples_ms) for path in run.paths),
        ("samples of the noise floor", run.noise_floor.samples_ms),
        ("rounds in the order", run.order),
        ("rounds in the conditions", run.conditions),
    ]
    uneven = next(((what, seen) for what, seen in counted if seen and len(seen) != run.rounds), None)
    return "" if uneven is None else f"there are {len(uneven[1])} {uneven[0]}, but {run.rounds} rounds"


def read_run(text: str | bytes) -> Run:
    """Read a run from its JSON.

    Raises:
        Refusal: it is too long, not JSON, of another schema version, has a wrong field, or lacks samples that its
            conclusions need.
    """
    if len(text) > MOST_BYTES:
        raise Refusal(
            f"This run cannot be used: it is longer than {MOST_BYTES // MEGABYTE} MB, the most that is read. {_KEPT}"
        )
    try:
        return Run.model_validate_json(text)
    except ValidationError as error:
        raise Refusal(f"{refusal_of(error, 'run')} {_KEPT}") from None


_KEPT = "It was not changed: use a complete copy of it, or measure again."


def refusal_of(error: ValidationError, what: str) -> Refusal:
    """One sentence for the first error in a record."""
    first: Any = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = str(first["msg"]).removeprefix("Value error, ")
    return Refusal(f"This {what} cannot be used: {f'{place}: ' if place else ''}{message}.")
