"""Tokenizers: one builder for each kind of vocabulary file.

Their ids have no special tokens, are not truncated, and never contain the padding id: inside a text it would make
the nested fastpath silently wrong.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers as hf_tokenizers

from engine.errors import Refusal
from engine.models.torchtext.bridge import load_vocab
from engine.models.torchtext.native.gpt2_bpe import GPT2BPEEncoder, byte_symbols
from engine.models.torchtext.native.sentencepiece import load_processor
from engine.records import EncoderShape

EncodeText = Callable[[str], list[int]]

# fairseq's dictionary, which XLM-R and RoBERTa are trained with: torchtext's bundles count on these ids too.
_BEGIN, _PADDING, _END, _UNKNOWN = 0, 1, 2, 3
_SPECIALS = 4
# A separator that no vocabulary holds, as torchtext's GPT2BPETokenizer has it.
_SEPARATOR = "\u0001"


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer and its special ids.

    Attributes:
        name: its kind, for the user.
        begin_id: goes before the ids of a text.
        end_id: goes after them.
        padding_id: fills a batch; never among the ids of a text.
        encode: texts -> the ids of each, without special tokens, not truncated; raises Refusal for a text
            that is not valid Unicode or that would hold the padding id.
    """

    name: str
    begin_id: int
    end_id: int
    padding_id: int
    encode: Callable[[Sequence[str]], list[list[int]]]


def wordpiece(tokenizer_json: Path, name: str = "WordPiece") -> Tokenizer:
    """BERT's word pieces from a Hugging Face tokenizer.json, with that file's own special ids.

    Raises:
        Refusal: the file cannot be read, or is not a WordPiece tokenizer with [CLS], [SEP] and [PAD].
    """
    tokenizer = _read(tokenizer_json, hf_tokenizers.Tokenizer.from_str)
    if not isinstance(tokenizer.model, hf_tokenizers.models.WordPiece):
        raise Refusal(f"{tokenizer_json.name} holds no WordPiece tokenizer: give the one of a BERT model.")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # Special tokens typed inside a text are text.
    tokenizer.encode_special_tokens = True
    begin, end, padding = _special_ids(tokenizer_json, tokenizer.get_vocab(), ("[CLS]", "[SEP]", "[PAD]"))

    def encode_text(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return Tokenizer(name, begin, end, padding, _checked(encode_text, padding))


def sentencepiece_ids(model: Path) -> Tokenizer:
    """XLM-R's ids from its SentencePiece .model alone: exactly those of torchtext's own transform.

    Raises:
        Refusal: the file cannot be read or is no such model, or `sentencepiece` is missing or of a version that
            tokenizes otherwise.
    """
    try:
        processor = load_processor(model.read_bytes())
    except (OSError, RuntimeError):
        raise _unreadable(model) from None
    if (processor.unk_id(), processor.bos_id(), processor.eos_id()) != (0, 1, 2):
        raise Refusal(
            f"{model.name} does not begin with <unk>, <s>, </s>, as XLM-R's model does: give XLM-R's own."
        )

    def encode_text(text: str) -> list[int]:
        # fairseq's dictionary has <pad> and <mask> beside SentencePiece's, so all but <unk> move up by one.
        return [index + 1 if index else _UNKNOWN for index in processor.EncodeAsIds(text)]

    return _fairseq("SentencePiece, XLM-R's ids", encode_text)


def gpt2_bpe(vocab_json: Path, merges: Path) -> Tokenizer:
    """RoBERTa's byte-level BPE from Hugging Face's vocab.json and merges.txt.

    Raises:
        Refusal: a file cannot be read, or the vocabulary lacks <s>, </s>, <pad> or <unk>.
    """
    ids: dict[str, int] = _read(vocab_json, _token_ids)
    begin, end, padding, unknown = _special_ids(vocab_json, ids, ("<s>", "</s>", "<pad>", "<unk>"))
    encoder = _bpe_encoder(ids, merges)

    def encode_text(text: str) -> list[int]:
        return [ids.get(token, unknown) for token in encoder.tokenize(text)]

    return Tokenizer("GPT-2 byte-level BPE", begin, end, padding, _checked(encode_text, padding))


def gpt2_bpe_torchtext(encoder_json: Path, vocab_bpe: Path, vocab_pt: Path) -> Tokenizer:
    """RoBERTa's byte-level BPE from the three files of torchtext's bundles.

    Raises:
        Refusal: a file cannot be read, or is not what it should be.
    """
    encoder = _bpe_encoder(_read(encoder_json, _token_ids), vocab_bpe)
    vocab = load_vocab(vocab_pt)

    def encode_text(text: str) -> list[int]:
        fairseq_ids: list[int] = vocab.lookup_indices(list(map(str, encoder.encode(text))))
        return fairseq_ids

    return _fairseq("GPT-2 byte-level BPE, torchtext's files", encode_text)


def stand_in(words: Tokenizer, shape: EncoderShape) -> Tokenizer:
    """A tokenizer for random weights of a RoBERTa shape: another tokenizer's ids, shifted past the four special ids.

    Lengths are then those of real texts, which is what speed depends on.

    Raises:
        Refusal: the shape's vocabulary or padding id leaves no room for it.
    """
    room = shape.vocab_size - _SPECIALS
    if room <= 0 or shape.padding_idx not in (_PADDING, _UNKNOWN):
        raise Refusal(
            f"A vocabulary of {shape.vocab_size} with padding id {shape.padding_idx} has no room for a stand-in "
            "tokenizer: choose a shape of the RoBERTa family."
        )

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [[_SPECIALS + index % room for index in ids] for ids in words.encode(texts)]

    name = f"{words.name}, ids shifted by {_SPECIALS} (stand-in)"
    return Tokenizer(name, _BEGIN, _END, shape.padding_idx, encode)


def _fairseq(name: str, encode_text: EncodeText) -> Tokenizer:
    return Tokenizer(name, _BEGIN, _END, _PADDING, _checked(encode_text, _PADDING))


def _checked(encode_text: EncodeText, padding_id: int) -> Callable[[Sequence[str]], list[list[int]]]:
    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [
            _checked_ids(number, text, encode_text, padding_id) for number, text in enumerate(texts, start=1)
        ]

    return encode


def _checked_ids(number: int, text: str, encode_text: EncodeText, padding_id: int) -> list[int]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refusal(
            f"Text {number} is not valid Unicode (half of a character at position {error.start + 1}), so no text was "
            "tokenized: remove it."
        ) from None
    ids = encode_text(text)
    if padding_id in ids:
        raise Refusal(
            f"Text {number} contains the padding token, which the fastpath would read as the end of the text, so no "
            "text was tokenized: remove it."
        )
    return ids


def _bpe_encoder(ids: dict[str, int], merges: Path) -> GPT2BPEEncoder:
    ranks = {pair: rank for rank, pair in enumerate(_read(merges, _merge_pairs))}
    return GPT2BPEEncoder(ids, ranks, _SEPARATOR, byte_symbols(), caching_enabled=True)


def _token_ids(text: str) -> dict[str, int]:
    ids = json.loads(text)
    if not isinstance(ids, dict) or not all(type(index) is int and index >= 0 for index in ids.values()):
        raise ValueError("not a token's id for each token")
    return ids


def _merge_pairs(text: str) -> list[str]:
    lines = text.split("\n")
    # The first line is the format's version; later lines may begin with the symbol "#" too.
    return [
        _SEPARATOR.join(line.split()) for line in lines[lines[0].startswith("#version") :] if line.strip()
    ]


def _special_ids(path: Path, ids: dict[str, int], tokens: tuple[str, ...]) -> list[int]:
    missing = [token for token in tokens if token not in ids]
    if missing:
        raise Refusal(
            f"{path.name} has no token {missing[0]}, which the encoder needs: give the model's own file."
        )
    return [ids[token] for token in tokens]


def _read(path: Path, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except Exception:  # Hugging Face's parser raises nothing narrower
        raise _unreadable(path) from None


def _unreadable(path: Path) -> Refusal:
    if not path.is_file():
        return Refusal(f"There is no tokenizer file {path}: fetch it, or give the folder that holds it.")
    return Refusal(f"The tokenizer file {path.name} cannot be read: remove it and fetch it again.")
