"""Small records that several tests start from."""

from datetime import UTC, datetime

from engine.catalog import CATALOG
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
    Run,
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
