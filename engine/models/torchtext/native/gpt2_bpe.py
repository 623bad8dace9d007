"""Byte-level BPE as torchtext's compiled GPT-2 tokenizer does it (torchtext's `csrc/gpt2_bpe_tokenizer.cpp`).

It differs from GPT-2's own word split in one corner, which is kept: a run of spaces before a contraction
leaves its last space with the contraction.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from heapq import heapify, heappop, heappush
from itertools import count

from engine.models.torchtext.native import MODULE

# White space is ASCII white space only, as for the RE2 library; letters and numbers are Unicode's.
_WHITE_SPACE = " \t\n\v\f\r"
_CONTRACTION = re.compile("'(?:s|t|re|ve|m|ll|d)")
# Over the kinds of the characters, a letter a kind: L letter, N number, O other, space, W other white space.
_RUN = re.compile(" ?L+| ?N+| ?O+|[ W]+")
_CACHED_WORDS = 2**16

RankOf = Callable[[str, str], int | None]
_State = tuple[dict[str, int], dict[str, int], str, dict[int, str], bool]


def byte_symbols() -> dict[int, str]:
    """The character that stands for each byte in GPT-2's vocabulary: itself if it prints, else one from U+0100 on."""
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    free = count(0x100)
    return {byte: chr(byte) if byte in printing else chr(next(free)) for byte in range(256)}


def split_words(text: str) -> list[str]:
    """The words that pairs are merged within; joined, they are the text again."""
    words: list[str] = []
    lead = ""
    for run, is_last in _runs(text):
        if run.strip(_WHITE_SPACE):
            words.append(lead + run)
            lead = ""
        elif is_last:
            words.append(run)
        else:
            # A space goes with the word after it; other white space stands alone.
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

    Takes O(n log n) steps for n symbols, so that a text of one endless word does not stop a server.
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
                continue  # a merge to the left has taken one half of this pair
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
    """Symbols linked to their neighbours, so that two become one without moving the rest."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._symbols: list[str | None] = list(symbols)
        self._left = list(range(-1, len(symbols) - 1))
        self._right = list(range(1, len(symbols) + 1))

    def rank(self, left: int, rank_of: RankOf) -> int | None:
        """The rank of the pair that begins here; None if none does."""
        first = self._symbols[left]
        right = self._right[left]
        if first is None or right == len(self._symbols):
            return None
        second = self._symbols[right]
        assert second is not None, "links lead to remaining symbols only"  # noqa: S101
        return rank_of(first, second)

    def merge(self, left: int) -> list[int]:
        """Make one symbol of the pair that begins here; returns the places whose pair is new."""
        right = self._right[left]
        self._symbols[left] = f"{self._symbols[left]}{self._symbols[right]}"
        self._symbols[right] = None
        after = self._right[left] = self._right[right]
        if after < len(self._symbols):
            self._left[after] = left
        before = self._left[left]
        return [left] if before < 0 else [before, left]

    def symbols(self) -> list[str]:
        """The symbols that are left, in order."""
        return [symbol for symbol in self._symbols if symbol is not None]


class GPT2BPEEncoder:
    """What `torchtext.transforms.GPT2BPETokenizer` holds; argument and method names are torchtext's."""

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
        """The text's tokens in the vocabulary's byte characters."""
        return [symbol for word in split_words(text) for symbol in self._symbols_of(word)]

    def encode(self, text: str) -> list[int]:
        """The ids of the text's tokens; IndexError for a token that the vocabulary lacks."""
        try:
            return [self._ids[token] for token in self.tokenize(text)]
        except KeyError as error:
            raise IndexError(f"token {error} is not in the encoder") from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, incomplete characters left out; IndexError for an unknown id."""
        tokens = {index: token for token, index in self._ids.items()}
        byte_of = {symbol: byte for byte, symbol in self._byte_symbols.items()}
        try:
            return bytes(byte_of[symbol] for index in ids for symbol in tokens[index]).decode(
                "utf-8", "ignore"
            )
        except KeyError as error:
            raise IndexError(f"id {error} is not in the encoder") from None

    def add_special_tokens(self, *_: object) -> int:
        """Not supplied: the compiled one keeps such tokens for every tokenizer of the process."""
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
