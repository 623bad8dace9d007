"""Small records that several tests start from."""

from datetime import UTC, datetime
from pathlib import Path

from engine.analysis.conclude import concluded
from engine.catalog.models import CATALOG
from engine.diagnosis import (
    AS_IT_IS,
    SLOW,
    Check,
    Counts,
    Crossover,
    Danger,
    Diagnosis,
    Part,
    Prediction,
    Proof,
    Sparsity,
    State,
    SweepPoint,
    Timing,
    TorchReason,
)
from engine.records import (
    Agreement,
    Batch,
    Environment,
    Evidence,
    Experiment,
    ModelCard,
    NoiseFloor,
    OperatorTime,
    PathResult,
    Profile,
    Roofline,
    Run,
    VerdictWord,
    read_run,
)

TEXTS = ("Hello world", "How are you!")


def sample_environment() -> Environment:
    return Environment(
        torch="2.13.0",
        torchtext="0.18.0",
        bridge="bridged",
        python="3.11.7",
        platform="Linux",
        cpu="a processor",
        cpu_capability="AVX512",
        cores=2,
        threads=2,
        memory_mb=16_000,
        device_name="a processor",
        load_before=0.1,
        load_after=1.2,
    )


def sample_card() -> ModelCard:
    shape = CATALOG["minilm"].shape
    assert shape is not None
    return ModelCard(
        name="minilm",
        title="all-MiniLM-L6-v2",
        source="package",
        checksum="53aa",
        real_weights=True,
        tokenizer="WordPiece",
        shape=shape,
        parameters=shape.parameters,
        memory_mb=90.3,
        dtype="fp32",
        device="cpu",
        load_ms=400.0,
    )


def sample_path(name: str, samples_ms: tuple[float, ...], fused: float) -> PathResult:
    op = OperatorTime(name="aten::addmm", calls=14, self_ms=5.0, total_ms=5.5, share=1.0)
    return PathResult(
        name=name,
        dtype="fp32",
        status="ok",
        first_call_ms=30.0,
        samples_ms=samples_ms,
        agreement=Agreement(max_abs_error=1e-6, tolerance=1e-5, ok=True),
        peak_memory_mb=12.0,
        evidence=Evidence(
            claim="so many fused layers", ops={"aten::_transformer_encoder_layer_fwd": fused}, ok=True
        ),
        profile=Profile(iterations=10, overhead=1.1, ops=(op,)),
    )


def sample_run(slow_ms: tuple[float, ...] = (10.0,) * 8, fast_ms: tuple[float, ...] = (5.0,) * 8) -> Run:
    """A run as the engine leaves it before conclusions: raw samples only."""
    batch = Batch(name="tutorial-small", texts=TEXTS, lengths=(4, 6), padding_ratio=1 / 6, shape=(2, 6))
    paths = (sample_path("slow", slow_ms, 0), sample_path("fast-nested", fast_ms, 6))
    return Run(
        id="0123456789ab",
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
        title="all-MiniLM-L6-v2, tutorial-small, cpu fp32",
        experiment=Experiment(model="minilm", batch=batch, paths=tuple(p.name for p in paths)),
        model_card=sample_card(),
        environment=sample_environment(),
        paths=paths,
        noise_floor=NoiseFloor(samples_ms=slow_ms),
        rounds=len(slow_ms),
        stop_reason=f"the {len(slow_ms)} rounds asked for",
        order=(("slow", "fast-nested", "baseline-again"),) * len(slow_ms),
    )


def an_eight_path_run() -> Run:
    """A measured run of MiniLM on the tutorial's big batch, its three paths' results again under eight names."""
    run = read_run((Path(__file__).parent / "data" / "run_minilm_tutorial_big.json").read_bytes())
    names = (
        "slow-train",
        "slow-grad",
        "slow",
        "fast-mha",
        "fast-nested",
        "tutorial-mha",
        "bucketed",
        "packed",
    )
    results = (run.path(name) if name in run.experiment.paths else run.path("slow") for name in names)
    paths = tuple(
        result.model_copy(update={"name": name}) for name, result in zip(names, results, strict=True)
    )
    return concluded(
        run.model_copy(
            update={
                "paths": paths,
                "experiment": run.experiment.model_copy(update={"paths": names}),
                "roofline": Roofline(matmul_gflops={"fp32": 400.0}, memory_gb_s=20.0),
                "order": (),
            }
        )
    )


def a_run_with_costs() -> Run:
    """A concluded run of the slow path, the fastpath, packed execution and the same in bf16, with peaks and costs."""
    run = sample_run()
    linear = Evidence(
        claim="25 linear layers on laid-out weights",
        ops={"aten::_transformer_encoder_layer_fwd": 0, "mkldnn::_linear_pointwise": 25},
        ok=True,
    )
    packed = sample_path("packed", (4.0,) * 8, 0)
    costs = {"evidence": linear, "prepare_ms": 40.0, "weights_mb": 42.5}
    half = {
        "dtype": "bf16",
        "weights_mb": 21.3,
        "agreement": Agreement(max_abs_error=0.02, tolerance=0.2, ok=True),
    }
    paths = (
        *(path.model_copy(update={"prepare_ms": 0.0, "weights_mb": 0.0}) for path in run.paths),
        packed.model_copy(update=costs),
        packed.model_copy(update={**costs, **half, "name": "packed@bf16", "samples_ms": (2.0,) * 8}),
    )
    experiment = run.experiment.model_copy(update={"paths": tuple(path.name for path in paths)})
    return concluded(
        run.model_copy(
            update={
                "paths": paths,
                "experiment": experiment,
                "roofline": Roofline(matmul_gflops={"fp32": 200.0, "bf16": 400.0}, memory_gb_s=20.0),
            }
        )
    )


_FUSED = Counts(fused_layers=6, nested_conversions=1, native_attentions=0)
_NOT_FUSED = Counts(fused_layers=0, nested_conversions=0, native_attentions=0)
_RIGHT = Agreement(max_abs_error=1.2e-6, tolerance=1e-4, ok=True)
_WRONG = Agreement(max_abs_error=2.81, tolerance=1e-4, ok=False)
_BATCH = Batch(
    name="tutorial-big",
    texts=(*TEXTS, "Well, Prince"),
    lengths=(4, 6, 190),
    padding_ratio=0.649,
    shape=(3, 190),
)


def a_timing(median_ms: float, speedup: float, verdict: VerdictWord | None = "faster") -> Timing:
    return Timing(
        median_ms=median_ms,
        speedup=speedup,
        speedup_ci95=(speedup * 0.98, speedup * 1.02),
        verdict=verdict,
        samples_ms=(median_ms,) * 8,
    )


def a_state(name: str, title: str, counts: Counts, timing: Timing | None, cure: str = "") -> State:
    return State(
        name=name,
        title=title,
        cure=cure,
        prediction=Prediction(counts=counts),
        proof=Proof(counts=counts),
        agreement=_RIGHT,
        drift=_RIGHT,
        timing=timing,
    )


def a_check(key: str, part: Part, needs: str, has: str) -> Check:
    return Check(key=key, part=part, module="encoder", needs=needs, has=has, ok=True, why="It costs speed.")


def a_sweep_point(padding_ratio: float, speedup: float, verdict: VerdictWord) -> SweepPoint:
    interval = (speedup * 0.97, speedup * 1.03)
    return SweepPoint(padding_ratio=padding_ratio, speedup=speedup, ci95=interval, verdict=verdict)


def some_sparsity() -> Sparsity:
    return Sparsity(
        real_tokens=200,
        all_tokens=570,
        padding_ratio=0.649,
        bound=3.1,
        measured=a_timing(33.0, 1.7),
        crossover=Crossover(
            padding_ratios=(0.0, 0.2, 0.4, 0.6, 0.8),
            speedups=(0.93, 0.97, 1.2, 1.6, 2.7),
            points=(
                a_sweep_point(0.0, 0.93, "slower"),
                a_sweep_point(0.2, 0.97, "not sure"),
                a_sweep_point(0.4, 1.2, "faster"),
                a_sweep_point(0.6, 1.6, "faster"),
                a_sweep_point(0.8, 2.7, "faster"),
            ),
            shape=(3, 190),
            measured_at=datetime(2026, 11, 20, tzinfo=UTC),
            cached=True,
        ),
    )


def a_diagnosis() -> Diagnosis:
    """A healthy model: both parts of the fastpath are taken."""
    return Diagnosis(
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
        title="all-MiniLM-L6-v2, tutorial-big, cpu fp32",
        model="minilm",
        batch=_BATCH,
        environment=sample_environment(),
        layers=6,
        verdict="taken",
        summary="The fastpath is taken: 6 of 6 layers are fused, sparsity is on.",
        explanation="6 of 6 layers are fused, sparsity is on.",
        checks=(
            a_check("layer.eval", "native MHA", "eval mode", "eval mode"),
            a_check("encoder.mask", "sparsity", "a padding mask", "a padding mask of 3 x 190"),
        ),
        states=(
            a_state(SLOW, "Slow path", _NOT_FUSED, a_timing(61.0, 0.54, "slower")),
            a_state(AS_IT_IS, "As it is", _FUSED, a_timing(33.0, 1.0, None)),
        ),
        baseline=AS_IT_IS,
        noise_floor=NoiseFloor(samples_ms=(33.0,) * 8, ci95=(0.99, 1.01)),
        rounds=8,
        stop_reason="precise enough",
        sparsity=some_sparsity(),
    )


def a_broken_diagnosis() -> Diagnosis:
    """A healthy model in train mode and with gradients on: nothing is taken, and two cures bring it back."""
    train = Check(
        key="layer.eval",
        part="native MHA",
        module="encoder.layers",
        needs="eval mode",
        has="train mode",
        ok=False,
        failing_layers=(0, 1, 2, 3, 4, 5),
        why="The fused operator draws no dropout.",
        cure="model.eval()",
        torch_says="training is enabled",
    )
    gradients = Check(
        key="layer.gradients",
        part="native MHA",
        module="encoder.layers",
        needs="no gradients, or no parameter that requires one",
        has="gradients on, 16 tensors require one",
        ok=False,
        failing_layers=(0, 1, 2, 3, 4, 5),
        why="The fused operator has no backward.",
        cure="torch.inference_mode().__enter__()",
        torch_says="grad is enabled and at least one of query or the input/output projection weights",
    )
    healthy = a_diagnosis()
    return healthy.model_copy(
        update={
            "modifications": ("train-mode", "gradients"),
            "verdict": "not taken",
            "summary": "The fastpath is not taken. What stands in the way first: train mode.",
            "explanation": "What stands in the way first: train mode.",
            "checks": (train, gradients, *healthy.checks[1:]),
            "states": (
                a_state(SLOW, "Slow path", _NOT_FUSED, a_timing(61.0, 1.6)),
                a_state(AS_IT_IS, "As it is", _NOT_FUSED, a_timing(97.0, 1.0, None)).model_copy(
                    update={
                        "agreement": None,
                        "proof": Proof(
                            counts=_NOT_FUSED,
                            torch_reasons=(
                                TorchReason(
                                    where="nn.TransformerEncoderLayer", reason="training is enabled", calls=6
                                ),
                            ),
                        ),
                    }
                ),
                a_state("layer.eval", "eval mode", _NOT_FUSED, a_timing(70.0, 1.38), "model.eval()"),
                a_state("layer.gradients", "no gradients", _FUSED, a_timing(33.0, 2.94), gradients.cure),
            ),
            "not_tried": ("The hook was left alone: it may be yours.",),
        }
    )


def checked_by_every_part(diagnosis: Diagnosis) -> Diagnosis:
    """The first failing condition as the encoder asks it too, and one that fails for the native attention alone."""
    first = diagnosis.failing[0]
    sparsity: dict[str, object] = {"part": "sparsity", "torch_says": "self.layers[0] was in training mode"}
    attention: dict[str, object] = {"part": "attention", "needs": "masks of booleans", "cure": ""}
    more = (first.model_copy(update=sparsity), first.model_copy(update=attention))
    return diagnosis.model_copy(update={"checks": (more[0], *diagnosis.checks, more[1])})


def a_silently_wrong_diagnosis() -> Diagnosis:
    """Texts padded on the left: the fastpath is taken, and its answers are wrong."""
    healthy = a_diagnosis()
    danger = Danger(
        key="left-padding",
        effect="wrong",
        module="encoder",
        has="2 of 3 texts are padded on the left",
        why="The nested tensor takes each text's first tokens, whatever the mask says.",
        cure='tokenizer.padding_side = "right"',
    )
    slow = a_state(SLOW, "Slow path", _NOT_FUSED, a_timing(61.0, 1.0, None))
    wrong = a_state(AS_IT_IS, "As it is", _FUSED, a_timing(33.0, 1.85)).model_copy(
        update={"agreement": _WRONG, "offered": False}
    )
    return healthy.model_copy(
        update={
            "modifications": ("left-padding",),
            "verdict": "taken but wrong",
            "summary": "The fastpath is taken and its answer is wrong: 2 of 3 texts are padded on the left.",
            "explanation": "2 of 3 texts are padded on the left.",
            "dangers": (danger,),
            "findings": ("Sparsity was predicted for 1 encoder, and proved for none.",),
            "states": (slow, wrong),
            "baseline": SLOW,
        }
    )


def standing_compiler(folder: Path) -> Path:
    """A script in place of the C++ compiler: it makes the file `started`, waits for `go`, makes `ended`, and fails."""
    script = folder / "compiler"
    script.write_text(
        "#!/bin/sh\n"
        'test "$1" = --version && exit 0\n'
        f"touch '{folder}/started'\n"
        f"until test -e '{folder}/go'; do sleep 0.05; done\n"
        f"touch '{folder}/ended'\n"
        "exit 1\n"
    )
    script.chmod(0o755)
    return script
