"""Converted weights give the same results as transformers; files that do not fit are refused and named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from engine.errors import Refusal
from engine.models.inputs import right_padded
from engine.models.loading import LoadedModel, load_model
from engine.paths import EXECUTION_PATHS
from engine.records import ModelSpec
from engine.settings import Settings

SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "attn_implementation": "sdpa",
}
# A vocabulary of the embedded model's size, for BERT without tokenizer files.
BERT_SIZES = SIZES | {"vocab_size": 30522}


def bert() -> PreTrainedModel:
    return BertModel(BertConfig(**BERT_SIZES))


def bert_with_head_and_its_own_norms() -> PreTrainedModel:
    return BertForMaskedLM(BertConfig(**BERT_SIZES, layer_norm_eps=1e-3))


def roberta() -> PreTrainedModel:
    return RobertaModel(RobertaConfig(**SIZES, layer_norm_eps=1e-5))


def roberta_classifier() -> PreTrainedModel:
    return RobertaForSequenceClassification(RobertaConfig(**SIZES, num_labels=5))


def xlm_roberta() -> PreTrainedModel:
    return XLMRobertaForMaskedLM(XLMRobertaConfig(**SIZES, layer_norm_eps=1e-5))


MAKERS = (bert, bert_with_head_and_its_own_norms, roberta, roberta_classifier, xlm_roberta)


def shaken(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """A model in which no parameter is zero or one, so that a mixed-up name shows."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = make().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def saved(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def loaded(folder: Path) -> LoadedModel:
    spec = ModelSpec(name=str(folder), title="tiny", source="folder")
    return load_model(spec, "fp32", "cpu", Settings(), lambda _: None, lambda: 0.0)


def random_rows() -> list[list[int]]:
    """Rows of 2 to 38 tokens; 38 is the longest that 40 positions of RoBERTa hold."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(5, 120, (length,), generator=generator).tolist() for length in (2, 38, 17, 5)]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("path", ["slow", "fast-mha", "fast-nested"])
def test_hidden_states_equal_those_of_transformers(
    make: Callable[[], PreTrainedModel], path: str, tmp_path: Path
) -> None:
    """Names, fused projections, positions, token types and norms: an error in any of them is far above 1e-5."""
    reference = shaken(make)
    ours = loaded(saved(reference, tmp_path / "model"))
    padding_id = ours.card.shape.padding_idx
    tokens = right_padded(random_rows(), padding_id)
    real = tokens != padding_id
    prepared = EXECUTION_PATHS[path].prepare(ours.model)
    with torch.no_grad():
        expected = reference.base_model(tokens, attention_mask=real.long()).last_hidden_state
    with prepared.switches():
        hidden = prepared.hidden(tokens)
    assert (hidden - expected)[real].abs().max() <= 1e-5


def test_names_from_tensorflow_are_understood(tmp_path: Path) -> None:
    """bert-base-uncased still calls the norms' vectors gamma and beta."""
    folder = saved(shaken(bert), tmp_path / "model")
    expected = loaded(folder).model.state_dict()
    rename(
        folder,
        lambda key: key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"),
    )
    found = loaded(folder).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_longest_text_is_limited_by_the_positions(tmp_path: Path) -> None:
    """BERT's 40 positions are 40 tokens; RoBERTa's first two rows are never used."""
    assert loaded(saved(shaken(bert), tmp_path / "bert")).card.shape.max_tokens == 40
    assert loaded(saved(shaken(roberta), tmp_path / "roberta")).card.shape.max_tokens == 38


@pytest.fixture(scope="module")
def roberta_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(shaken(roberta), tmp_path_factory.mktemp("roberta") / "model")


@pytest.fixture
def folder(roberta_folder: Path, tmp_path: Path) -> Path:
    """A folder with a good model, to be spoiled."""
    return Path(shutil.copytree(roberta_folder, tmp_path / "model"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "gpt2"),
        ("hidden_act", "gelu_new"),
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("quantization_config", {"bits": 4}),
        ("num_hidden_layers", None),
        ("vocab_size", "many"),
        ("num_attention_heads", 5),
        ("layer_norm_eps", -1),
    ],
)
def test_a_config_that_torchtext_cannot_compute_is_refused_by_field(
    field: str, value: object, folder: Path
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(Refusal, match=r"heads do not divide" if value == 5 else field):
        loaded(folder)


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_a_config_that_is_not_an_object_is_refused(content: str, folder: Path) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(Refusal, match=r"config\.json"):
        loaded(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(Refusal, match=r"model\.safetensors is damaged or incomplete"):
        loaded(folder)


def test_garbage_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(Refusal, match="is damaged or incomplete"):
        loaded(folder)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    name = "encoder.layer.2.output.dense.bias"
    change(folder, lambda tensors: {key: value for key, value in tensors.items() if key != name})
    with pytest.raises(Refusal, match=rf"lacks {name}"):
        loaded(folder)


def test_another_family_of_tensors_is_refused(folder: Path) -> None:
    rename(folder, lambda key: f"model.{key}")
    with pytest.raises(Refusal, match=r"lacks embeddings\.word_embeddings\.weight"):
        loaded(folder)


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    name = "embeddings.word_embeddings.weight"
    change(folder, lambda tensors: tensors | {name: tensors[name][:-1].clone()})
    with pytest.raises(Refusal, match=r"token_embedding\.weight of shape \(119, 48\) where \(120, 48\)"):
        loaded(folder)


def test_quantized_tensors_are_refused(folder: Path) -> None:
    """Copied as they are, whole numbers would make a model that runs and means nothing."""
    name = "encoder.layer.0.output.dense.weight"
    change(folder, lambda tensors: tensors | {name: tensors[name].to(torch.int8)})
    with pytest.raises(Refusal, match=r"linear2\.weight as torch\.int8"):
        loaded(folder)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(Refusal, match=r"model\.safetensors is missing in folder.*save_pretrained"):
        loaded(folder)


def change(folder: Path, alter: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(alter(load_file(file)), file)


def rename(folder: Path, new_name: Callable[[str], str]) -> None:
    change(folder, lambda tensors: {new_name(key): value for key, value in tensors.items()})
