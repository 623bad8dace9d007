"""The bridge: torchtext's bundles run on any torch, give native torchtext's tokens, and execute no pickle."""

import copy
import functools
import json
import os
import random
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Refusal
from engine.models.torchtext import bridge as torchtext_bridge
from engine.models.torchtext.bridge import install, load_state_dict_from_url, load_vocab, mode
from engine.models.torchtext.native import MODULE
from engine.models.torchtext.native.gpt2_bpe import GPT2BPEEncoder, byte_symbols, merge_pairs, split_words
from engine.models.torchtext.native.sentencepiece import SentencePiece, check_version
from engine.models.torchtext.native.vocab import Vocab
from tests.models.loopback import Loopback, Served

install()

import torchtext.functional as F  # noqa: E402, N812
import torchtext.transforms as T  # noqa: E402, N812
from torchtext.models import RobertaEncoderConf  # noqa: E402
from torchtext.models.roberta.model import RobertaModel  # noqa: E402
from torchtext.vocab import Vocab as TorchtextVocab  # noqa: E402
from torchtext.vocab import build_vocab_from_iterator  # noqa: E402

untimed = settings(deadline=None)

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
GOLDEN = DATA / "golden"
NATIVE = json.loads((GOLDEN / "torchtext_native.json").read_text(encoding="utf-8"))
CASES = NATIVE["cases"]
TINY_XLMR = {
    "vocab_size": 2002,
    "embedding_dim": 1024,
    "ffn_dimension": 64,
    "num_attention_heads": 16,
    "num_encoder_layers": 1,
}


def run_child(code: str, torch_home: Path) -> str:
    """Standard output of the code in a new interpreter with this torch home only."""
    environment = os.environ | {
        "TORCH_HOME": str(torch_home),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def xlmr_home(tmp_path: Path) -> Path:
    """A torch home with small files that have the names of XLM-R large's real files."""
    text, checkpoints = tmp_path / "text", tmp_path / "hub" / "checkpoints"
    text.mkdir()
    checkpoints.mkdir(parents=True)
    (text / "xlmr.sentencepiece.bpe.model").write_bytes((GOLDEN / "sp_unigram.model").read_bytes())
    (checkpoints / "xlmr.vocab.pt").write_bytes((GOLDEN / "unigram.vocab.pt").read_bytes())
    encoder = RobertaModel(RobertaEncoderConf(**TINY_XLMR))
    torch.save(encoder.state_dict(), checkpoints / "xlmr.large.encoder.pt")
    return tmp_path


def test_the_tutorials_listing_runs_verbatim_after_one_import(xlmr_home: Path) -> None:
    """The listing's lines are as published; the preamble only makes the model small."""
    preamble = f"""
from engine.models.torchtext import on_any_torch as torchtext_on_any_torch
from torchtext.models import XLMR_LARGE_ENCODER, RobertaEncoderConf
XLMR_LARGE_ENCODER._encoder_conf = RobertaEncoderConf(**{TINY_XLMR})
"""
    listing = (DATA / "tutorial_listing.txt").read_text(encoding="utf-8")
    epilogue = """
small = to_tensor(transform(small_input_batch), padding_value=1)
import json
print(json.dumps([list(output.shape), list(model(small).shape), model_input[0, :8].tolist(), small.tolist()]))
"""
    shape, small_shape, first_row, small = json.loads(
        run_child(preamble + listing + epilogue, xlmr_home).splitlines()[-1]
    )
    [hello_world] = [case["unigram"]["ids_truncate_254"] for case in CASES if case["text"] == "Hello world"]
    assert shape == [3, 2]
    assert small_shape == [2, 2]
    assert first_row == hello_world + [1] * (8 - len(hello_world))
    assert small[0][: len(hello_world)] == hello_world


def test_install_adds_names_to_torchtexts_namespaces_only(tmp_path: Path) -> None:
    """If the bridge changed torch itself, it would change what the lab measures. A second install changes nothing."""
    code = """
import json, sys, types
import torch
def attributes():
    return {
        (name, key): id(value)
        for name, module in list(sys.modules.items()) if name == "torch" or name.startswith("torch.")
        for key, value in vars(module).items() if not key.startswith("__")
    }
from engine.models.torchtext.bridge import install
# What torchtext imports from torch itself is loaded first, so that it does not count as a change.
import torch.hub, torch.nn, torch.utils.data
before = attributes()
first = install()
loaded = set(sys.modules)
second = install()
assert set(sys.modules) == loaded
after = attributes()
changed = [list(place) for place, value in after.items() if before.get(place) != value]
print(json.dumps([first, second, sorted(changed), sorted(map(list, set(before) - set(after)))]))
"""
    first, second, changed, removed = json.loads(run_child(code, tmp_path).splitlines()[-1])
    assert first == second == mode()
    assert removed == []
    stood_in = [["torch.classes", "torchtext"], ["torch.ops", "torchtext"]]
    assert changed == (stood_in if first == "bridged" else [])


def test_install_works_after_an_import_of_torchtext_has_failed(tmp_path: Path) -> None:
    code = """
try:
    import torchtext
except OSError:
    pass
from engine.models.torchtext import on_any_torch as torchtext_on_any_torch
import torchtext.models
print(torchtext.models.XLMR_LARGE_ENCODER.encoderConf.embedding_dim, torchtext_on_any_torch.bridge)
"""
    assert run_child(code, tmp_path).split() == ["1024", mode()]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.3.0", "native"),
        ("2.3.1+cu121", "native"),
        ("2.2.2", "bridged"),
        ("2.13.0+cpu", "bridged"),
        ("2.30.1", "bridged"),
    ],
)
def test_the_compiled_part_is_used_on_the_torch_it_was_built_for(version: str, expected: str) -> None:
    assert mode(version) == expected


def test_a_missing_torchtext_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(torchtext_bridge, "version", missing)
    with pytest.raises(Refusal, match="torchtext is not installed"):
        install()


def test_another_torchtext_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchtext_bridge, "version", lambda _: "0.17.2")
    with pytest.raises(Refusal, match=r"torchtext 0\.17\.2 is installed"):
        install()


# --- the same tokens as native torchtext ---


@functools.cache
def sentencepiece_pipeline(model: str, truncate: int) -> Callable[[Any], Any]:
    """The same steps as torchtext's `xlmr_transform`, with one of the golden models."""
    return T.Sequential(
        T.SentencePieceTokenizer(str(GOLDEN / f"sp_{model}.model")),
        T.VocabTransform(load_vocab(GOLDEN / f"{model}.vocab.pt")),
        T.Truncate(truncate),
        T.AddToken(token=0, begin=True),
        T.AddToken(token=2, begin=False),
    )


@functools.cache
def gpt2_tokenizer(return_tokens: bool = False) -> Any:
    return T.GPT2BPETokenizer(
        str(GOLDEN / "tiny_encoder.json"), str(GOLDEN / "tiny_vocab.bpe"), return_tokens
    )


@functools.cache
def stand_in_sentencepiece(model: str) -> SentencePiece:
    """The stand-in itself, even if torchtext uses its compiled half."""
    return SentencePiece.from_file(str(GOLDEN / f"sp_{model}.model"))


@functools.cache
def stand_in_encoder() -> GPT2BPEEncoder:
    merges = (GOLDEN / "tiny_vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    ranks = {"\u0001".join(pair.split()): rank for rank, pair in enumerate(merges)}
    ids = json.loads((GOLDEN / "tiny_encoder.json").read_text(encoding="utf-8"))
    return GPT2BPEEncoder(ids, ranks, "\u0001", byte_symbols(), True)


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_sentencepiece_gives_native_torchtexts_pieces_and_ids(model: str) -> None:
    texts = [case["text"] for case in CASES]
    pieces = T.SentencePieceTokenizer(str(GOLDEN / f"sp_{model}.model"))(texts)
    assert pieces == [case[model]["pieces"] for case in CASES]
    for truncate in (5, 254):
        expected = [case[model][f"ids_truncate_{truncate}"] for case in CASES]
        assert sentencepiece_pipeline(model, truncate)(texts) == expected


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_the_sentencepiece_stand_in_gives_native_pieces_in_every_mode(model: str) -> None:
    """If torchtext uses its compiled object, the stand-in is tested directly; its copy gives the same pieces."""
    stand_in = copy.deepcopy(stand_in_sentencepiece(model))
    assert [stand_in.EncodeAsPieces(case["text"]) for case in CASES] == [
        case[model]["pieces"] for case in CASES
    ]
    ids = stand_in.EncodeAsIds("Hello world")
    assert [stand_in.IdToPiece(index) for index in ids] == stand_in.EncodeAsPieces("Hello world")
    assert stand_in.DecodeIds(ids) == "Hello world"


def test_gpt2_bpe_gives_native_torchtexts_ids() -> None:
    expected = [case["gpt2_bpe"] for case in CASES]
    assert gpt2_tokenizer()([case["text"] for case in CASES]) == expected
    encoder = stand_in_encoder()
    assert [list(map(str, encoder.encode(case["text"]))) for case in CASES] == expected


def test_to_tensor_pads_as_native_torchtext_does() -> None:
    ids = sentencepiece_pipeline("unigram", 254)([case["text"] for case in CASES[:12]])
    padded = F.to_tensor(ids, padding_value=NATIVE["padding_value"])
    assert padded.tolist() == NATIVE["to_tensor_of_first_12_unigram_254"]


def test_byte_symbols_are_torchtexts() -> None:
    assert byte_symbols() == T.bytes_to_unicode()


# --- any text ---


@pytest.mark.parametrize("model", ["unigram", "bpe"])
@untimed
@given(text=st.text())
def test_any_text_becomes_ids_of_its_pieces(model: str, text: str) -> None:
    """Nothing raises, the special ids are at the ends only, and known ids give the pieces again."""
    begin, *ids, end = sentencepiece_pipeline(model, 10_000)(text)
    vocab = load_golden_vocab(model)
    pieces = stand_in_sentencepiece(model).EncodeAsPieces(text)
    assert (begin, end) == (0, 2)
    assert not {0, 1, 2} & set(ids)
    assert [piece if piece in vocab else "<unk>" for piece in pieces] == vocab.lookup_tokens(ids)


@functools.cache
def load_golden_vocab(model: str) -> Any:
    return load_vocab(GOLDEN / f"{model}.vocab.pt")


@untimed
@given(st.text() | st.text(alphabet=" \t\n'sretl1a.\u00a0é"))
def test_words_of_any_text_join_to_the_text(text: str) -> None:
    assert "".join(split_words(text)) == text


@untimed
@given(st.text())
def test_gpt2_bpe_ids_of_any_text_decode_to_the_text(text: str) -> None:
    encoder = stand_in_encoder()
    assert encoder.decode(encoder.encode(text)) == text


def merged_plainly(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """GPT-2's own loop: find the pair with the lowest rank, merge it everywhere in the word, repeat."""
    while pairs := [pair for pair in pairwise(symbols) if pair in ranks]:
        best = min(pairs, key=ranks.__getitem__)
        merged: list[str] = []
        at = 0
        while at < len(symbols):
            step = 2 if tuple(symbols[at : at + 2]) == best else 1
            merged.append("".join(symbols[at : at + step]))
            at += step
        symbols = merged
    return symbols


@untimed
@given(
    st.lists(st.sampled_from("ab"), max_size=30),
    st.permutations([(a, b) for a in ("a", "b", "aa", "ab", "ba") for b in ("a", "b", "aa", "ab", "ba")]),
    st.integers(0, 25),
)
def test_merging_gives_what_gpt2s_plain_loop_gives(
    symbols: list[str], pairs: list[tuple[str, str]], kept: int
) -> None:
    ranks = {pair: rank for rank, pair in enumerate(pairs[:kept])}
    assert merge_pairs(symbols, lambda a, b: ranks.get((a, b))) == merged_plainly(symbols, ranks)


def test_a_very_long_word_is_merged_in_few_steps() -> None:
    """20,000 letters without a space must not block a public server: the plain loop takes millions of look-ups."""
    asked: Counter[str] = Counter()
    encoder = stand_in_encoder()

    def rank_of(first: str, second: str) -> int | None:
        asked["rank"] += 1
        return encoder._rank_of(first, second)

    letters = random.Random(7).choices("etaoinshrdlu", k=20_000)
    assert len(merge_pairs(letters, rank_of)) < 20_000
    assert asked["rank"] < 10 * 20_000


# --- the vocabulary's table ---


def test_the_vocabulary_keeps_torchtexts_rules() -> None:
    vocab = build_vocab_from_iterator([["b", "a", "b"]], specials=["<unk>"])
    assert vocab.get_itos() == ["<unk>", "b", "a"]
    assert vocab.get_default_index() is None
    with pytest.raises(RuntimeError, match="default index is not set"):
        vocab["c"]
    vocab.set_default_index(0)
    vocab.insert_token("c", 1)
    vocab.append_token("d")
    assert vocab(["a", "b", "c", "d", "e"]) == [3, 2, 1, 4, 0]
    assert vocab.get_stoi() == {"<unk>": 0, "c": 1, "b": 2, "a": 3, "d": 4}
    assert vocab.lookup_tokens([4, 0]) == ["d", "<unk>"]
    with pytest.raises(RuntimeError, match="out of bounds"):
        vocab.lookup_token(5)
    with pytest.raises(RuntimeError, match="already exists"):
        vocab.append_token("a")


def test_the_stand_in_table_refuses_what_the_compiled_one_refuses() -> None:
    with pytest.raises(RuntimeError, match="Duplicate token"):
        Vocab(["a", "b", "a"])
    with pytest.raises(TypeError, match="list of str"):
        Vocab(["a", 1])  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="unexpected version"):
        Vocab([]).__setstate__(("0.0.1", [], [], []))


def test_labels_become_indices_through_the_class_registry() -> None:
    assert T.LabelToIndex(["yes", "no"], sort_names=True)(["yes", "no"]) == [1, 0]


def test_a_saved_vocabulary_loads_again(tmp_path: Path) -> None:
    vocab = build_vocab_from_iterator([["b", "a", "b"]], specials=["<unk>"])
    vocab.set_default_index(0)
    torch.save(vocab, tmp_path / "own.vocab.pt")
    loaded = load_vocab(tmp_path / "own.vocab.pt")
    assert loaded.get_itos() == ["<unk>", "b", "a"]
    assert loaded["never seen"] == 0


# --- files are data, never programs ---


class Shell:
    """Its pickle is a call of `os.system`."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


def hostile_contents(marker: Path) -> dict[str, Any]:
    hidden = build_vocab_from_iterator([["a"]])
    hidden._forward_hooks[0] = Shell(f"touch {marker}")
    return {"top level": Shell(f"touch {marker}"), "hidden in a vocabulary": hidden}


@pytest.mark.parametrize("where", ["top level", "hidden in a vocabulary"])
def test_a_vocabulary_that_names_a_program_is_refused_and_nothing_runs(where: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "xlmr.vocab.pt"
    torch.save(hostile_contents(marker)[where], path)
    with pytest.raises(Refusal, match=r"xlmr\.vocab\.pt is not a torchtext vocabulary .*system"):
        load_vocab(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file is no real attack, so the test above proves nothing"


@pytest.mark.parametrize(
    "content", [{"a": 1}, {"a": torch.zeros(2)}, build_vocab_from_iterator([["a"]]).vocab]
)
def test_a_file_with_something_else_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "other.vocab.pt"
    torch.save(content, path)
    with pytest.raises(Refusal, match=r"other\.vocab\.pt is not a torchtext vocabulary"):
        load_vocab(path)


def test_a_vocabulary_without_its_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.vocab.pt"
    torch.save(TorchtextVocab(None), path)
    with pytest.raises(Refusal, match="is not a torchtext vocabulary"):
        load_vocab(path)


@pytest.mark.parametrize("damage", ["no archive", "cut short", "no pickle inside"])
def test_a_broken_vocabulary_is_refused(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.vocab.pt"
    whole = (GOLDEN / "unigram.vocab.pt").read_bytes()
    path.write_bytes(
        {"no archive": b"<html>404</html>", "cut short": whole[: len(whole) // 2]}.get(damage, b"")
    )
    if damage == "no pickle inside":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02]q\x00(")
    with pytest.raises(Refusal, match=r"broken\.vocab\.pt is not a torchtext vocabulary"):
        load_vocab(path)


def test_a_missing_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="There is no vocabulary"):
        load_vocab(tmp_path / "none.vocab.pt")


def test_the_bundles_execute_neither_vocabulary_nor_weights(xlmr_home: Path) -> None:
    """Torchtext's loader unpickles anything; after `install()` the bundles must not, with their default arguments."""
    marker = xlmr_home / "ran"
    checkpoints = xlmr_home / "hub" / "checkpoints"
    for name in ("xlmr.vocab.pt", "xlmr.large.encoder.pt"):
        torch.save(Shell(f"touch {marker}"), checkpoints / name)
    code = f"""
from engine.models.torchtext import on_any_torch as torchtext_on_any_torch
from engine.errors import Refusal
from torchtext.models import XLMR_LARGE_ENCODER, RobertaEncoderConf
XLMR_LARGE_ENCODER._encoder_conf = RobertaEncoderConf(**{TINY_XLMR})
for load in (XLMR_LARGE_ENCODER.transform, XLMR_LARGE_ENCODER.get_model):
    try:
        load()
    except Refusal as refusal:
        print(refusal)
"""
    told = run_child(code, xlmr_home).splitlines()
    assert [line.split()[0] for line in told] == ["xlmr.vocab.pt", "xlmr.large.encoder.pt"]
    assert not marker.exists()


def test_a_vocabulary_is_fetched_once_and_then_read_from_torchs_folder(
    loopback: Loopback, torch_home: Path
) -> None:
    loopback.files["/unigram.vocab.pt"] = Served((GOLDEN / "unigram.vocab.pt").read_bytes())
    first, second = (load_state_dict_from_url(f"{loopback.url}/unigram.vocab.pt") for _ in range(2))
    assert first["<pad>"] == 1
    assert second.get_itos() == first.get_itos()
    assert (torch_home / "hub" / "checkpoints" / "unigram.vocab.pt").is_file()
    assert len(loopback.gets("/unigram.vocab.pt")) == 1


# --- versions of sentencepiece ---


@pytest.mark.parametrize("version", ["0.1.99", "0.2.0", "0.2.1"])
def test_versions_that_tokenize_as_torchtext_pass(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.1.95", "0.2.2", "0.2.3", "0.3.0", "1.0"])
def test_versions_with_other_tokens_are_refused_with_the_reason(version: str) -> None:
    with pytest.raises(Refusal, match=f"sentencepiece {version} splits some texts"):
        check_version(version)


def test_the_stand_ins_have_the_name_that_pickles_use() -> None:
    assert {kind.__module__ for kind in (Vocab, SentencePiece, GPT2BPEEncoder)} == {MODULE}
