"""Byte-level BPE, exactly as in torchtext's compiled GPT-2 tokenizer (torchtext's `csrc/gpt2_bpe_tokenizer.cpp`).

In one case torchtext splits words differently from GPT-2: the last of several spaces before a contraction belongs to
the contraction. This difference is kept.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from heapq import heapify, heappop, heappush
from itertools import count

from engine.models.torchtext.native import MODULE

# As in the RE2 library, white space is ASCII only; letters and numbers are Unicode's.
_WHITE_SPACE = " \t\n\v\f\r"
_CONTRACTION = re.compile("'(?:s|t|re|ve|m|ll|d)")
# Matches a string of kinds, one character for each kind: L letter, N number, O other, space, W other white space.
_RUN = re.compile(" ?L+| ?N+| ?O+|[ W]+")
_CACHED_WORDS = 2**16

RankOf = Callable[[str, str], int | None]
_State = tuple[dict[str, int], dict[str, int], str, dict[int, str], bool]


def byte_symbols() -> dict[int, str]:
    """The character for each byte in GPT-2's vocabulary: itself if it is printable, else one from U+0100 on."""
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    free = count(0x100)
    return {byte: chr(byte) if byte in printing else chr(next(free)) for byte in range(256)}


def split_words(text: str) -> list[str]:
    """Split a text into words; pairs are merged only inside a word. The words joined give the text again."""
    words: list[str] = []
    lead = ""
    for run, is_last in _runs(text):
        if run.strip(_WHITE_SPACE):
            words.append(lead + run)
            lead = ""
        elif is_last:
            words.append(run)
        else:
            # A space belongs to the word after it; other white space is a word of its own.
            lead = " " if run[-1] == " " else ""
            words += [word for word in (run[:-1], "" if lead else run[-1]) if word]
    return words


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    kinds = "".join(map(_kind, text))
    start = 0
    while start < len(text):
        match = _CONTRACTION.match(text, start) or _RUN.match(kinds, start)
        assert match is not None, "every kind begins a run"  # noqa: S101
        yield text[start : match.end()], match.end() == len(text)
        start = match.end()


@cache
def _kind(character: str) -> str:
    if character in _WHITE_SPACE:
        return " " if character == " " else "W"
    major = unicodedata.category(character)[0]
    return major if major in "LN" else "O"


def merge_pairs(symbols: Sequence[str], rank_of: RankOf) -> list[str]:
    """Merge all occurrences of the lowest-ranked pair, left to right, until no pair has a rank.

    Takes O(n log n) steps for n symbols, so one very long word cannot block a server.
    """
    chain = _Chain(symbols)
    waiting = [
        (rank, left) for left in range(len(symbols)) if (rank := chain.rank(left, rank_of)) is not None
    ]
    heapify(waiting)
    while waiting:
        lowest = waiting[0][0]
        for left in _pop_all(waiting, lowest):
            if chain.rank(left, rank_of) != lowest:
                continue  # a merge on the left has used one half of this pair
            for changed in chain.merge(left):
                if (rank := chain.rank(changed, rank_of)) is not None:
                    heappush(waiting, (rank, changed))
    return chain.symbols()


def _pop_all(waiting: list[tuple[int, int]], rank: int) -> list[int]:
    places = []
    while waiting and waiting[0][0] == rank:
        places.append(heappop(waiting)[1])
    return places


class _Chain:
    """A linked list of symbols: merging two of them does not move the others."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols: list[str | None] = list(symbols)
        self._left = list(range(-1, len(symbols) - 1))
        self._right = list(range(1, len(symbols) + 1))

    def rank(self, left: int, rank_of: RankOf) -> int | None:
        """The rank of the pair that begins at `left`; None if there is none."""
        first = self._symbols[left]
        right = self._right[left]
        if first is None or right == len(self._symbols):
            return None
        second = self._symbols[right]
        assert second is not None, "links lead to remaining symbols only"  # noqa: S101
        return rank_of(first, second)

    def merge(self, left: int) -> list[int]:
        """Merge the pair that begins at `left`; returns the positions whose pair has changed."""
        right = self._right[left]
        self._symbols[left] = f"{self._symbols[left]}{self._symbols[right]}"
        self._symbols[right] = None
        after = self._right[left] = self._right[right]
        if after < len(self._symbols):
            self._left[after] = left
        before = self._left[left]
        return [left] if before < 0 else [before, left]

    def symbols(self) -> list[str]:
        """The remaining symbols, in order."""
        return [symbol for symbol in self._symbols if symbol is not None]


class GPT2BPEEncoder:
    """The tokenizer inside `torchtext.transforms.GPT2BPETokenizer`; argument and method names are torchtext's."""

    __module__ = MODULE

    def __init__(
        self,
        bpe_encoder: Mapping[str, int],
        bpe_merge_ranks: Mapping[str, int],
        seperator: str,
        byte_encoder: Mapping[int, str],
        caching_enabled: bool = False,
    ) -> None:
        self._ids = dict(bpe_encoder)
        self._ranks = dict(bpe_merge_ranks)
        self._separator = seperator
        self._byte_symbols = dict(byte_encoder)
        self._caching = caching_enabled
        self._symbols_of = lru_cache(_CACHED_WORDS)(self._merge_word) if caching_enabled else self._merge_word

    def tokenize(self, text: str) -> list[str]:
        """The text's tokens, in the characters that stand for bytes (`byte_symbols`)."""
        return [symbol for word in split_words(text) for symbol in self._symbols_of(word)]

    def encode(self, text: str) -> list[int]:
        """The ids of the text's tokens; IndexError for a token that is not in the vocabulary."""
        try:
            return [self._ids[token] for token in self.tokenize(text)]
        except KeyError as error:
            raise IndexError(f"token {error} is not in the encoder") from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without incomplete characters; IndexError for an unknown id."""
        tokens = {index: token for token, index in self._ids.items()}
        byte_of = {symbol: byte for byte, symbol in self._byte_symbols.items()}
        try:
            return bytes(byte_of[symbol] for index in ids for symbol in tokens[index]).decode(
                "utf-8", "ignore"
            )
        except KeyError as error:
            raise IndexError(f"id {error} is not in the encoder") from None

    def add_special_tokens(self, *_: object) -> int:
        """Not available: the compiled tokenizer shares such tokens with every tokenizer of the process."""
        raise NotImplementedError(
            "torchtext's special tokens of GPT2BPETokenizer are not available on this torch"
        )

    def _merge_word(self, word: str) -> list[str]:
        return merge_pairs([self._byte_symbols[byte] for byte in word.encode()], self._rank_of)

    def _rank_of(self, first: str, second: str) -> int | None:
        return self._ranks.get(first + self._separator + second)

    def __getstate__(self) -> _State:
        return self._ids, self._ranks, self._separator, self._byte_symbols, self._caching

    def __setstate__(self, state: _State) -> None:
        GPT2BPEEncoder.__init__(self, *state)
