"""Records: what is written can be read, and a wrong field is refused in one sentence."""

import pytest
from pydantic import ValidationError

from engine.catalog.models import CATALOG
from engine.errors import Refusal
from engine.records import Batch, EncoderShape, Experiment, read_run
from tests.samples import sample_run


def test_a_run_survives_its_json_unchanged() -> None:
    run = sample_run()
    assert read_run(run.model_dump_json()) == run


def test_the_json_names_of_the_contract_are_all_there() -> None:
    run = sample_run().model_dump()
    assert {"schema_version", "id", "created_at", "title", "experiment", "environment", "paths"} <= set(run)
    assert {"noise_floor", "rounds", "stop_reason", "order"} <= set(run)
    assert {"model", "batch", "device", "dtype", "threads", "paths", "baseline", "seed", "budget_s"} <= set(
        run["experiment"]
    )
    assert {"name", "texts", "lengths", "padding_ratio", "shape"} <= set(run["experiment"]["batch"])
    assert {"evidence", "agreement", "profile", "samples_ms", "speedup_ci95", "next_step"} <= set(
        run["paths"][0]
    )
    assert {"bridge", "cpu_capability", "quiet", "load_before", "notes"} <= set(run["environment"])


@pytest.mark.parametrize(
    ("text", "clue"),
    [
        ("", "json"),
        ("{}", "required"),
        ('{"schema_version": 2}', "schema_version"),
        ("[1, 2]", "object"),
    ],
)
def test_a_file_that_is_no_run_is_refused_in_one_sentence(text: str, clue: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_run(text)
    assert clue in str(refusal.value).lower()
    assert "\n" not in str(refusal.value)


def test_an_unknown_field_is_not_lost_in_silence() -> None:
    text = sample_run().model_dump_json()[:-1] + ', "rouunds": 3}'
    with pytest.raises(Refusal, match="rouunds"):
        read_run(text)


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError):
        sample_run().rounds = 3  # type: ignore[misc]


@pytest.mark.parametrize("paths", [("slow", "slow"), ("fast-mha",), ()])
def test_an_experiment_holds_its_baseline_once(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Experiment(model="minilm", batch=Batch(name="b", texts=("a",)), paths=paths)


def test_heads_must_divide_the_width() -> None:
    shape = CATALOG["minilm"].shape
    assert shape is not None
    with pytest.raises(ValidationError, match="7 heads"):
        EncoderShape(**{**shape.model_dump(), "num_attention_heads": 7})


def test_the_longest_text_is_what_the_position_table_holds() -> None:
    assert [CATALOG[name].shape.max_tokens for name in ("minilm", "xlmr-large")] == [512, 512]  # type: ignore[union-attr]
