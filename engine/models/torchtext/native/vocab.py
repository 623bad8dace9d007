"""The table of `torchtext.vocab.Vocab`: tokens by index and indices by token.

Errors and pickle state are those of torchtext's `csrc/vocab.cpp`, so each can load files that the other has written.
"""

from collections.abc import Sequence

from engine.models.torchtext.native import MODULE

_PICKLE_VERSION = "0.0.2"
_State = tuple[str, list[int], list[str], list[object]]


class Vocab:
    """Unique tokens in a fixed order, and optionally a default index for unknown tokens."""

    __module__ = MODULE

    def __init__(self, tokens: Sequence[str], default_index: int | None = None) -> None:
        if not isinstance(tokens, list | tuple) or not all(isinstance(token, str) for token in tokens):
            raise TypeError("Vocab(): tokens must be a list of str")
        self._tokens: list[str] = list(tokens)
        self._indices: dict[str, int] = {}
        self._default_index = default_index
        for index, token in enumerate(self._tokens):
            if self._indices.setdefault(token, index) != index:
                raise RuntimeError(f"Duplicate token found in tokens list: {token}")

    def __len__(self) -> int:
        return len(self._tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._indices

    def __getitem__(self, token: str) -> int:
        if not isinstance(token, str):
            raise TypeError(f"__getitem__(): token must be str, not {type(token).__name__}")
        index = self._indices.get(token, self._default_index)
        if index is None:
            raise RuntimeError(f"Token {token} not found and default index is not set")
        return index

    def lookup_indices(self, tokens: list[str]) -> list[int]:
        """The index of each token; RuntimeError for an unknown token if no default index is set."""
        if not isinstance(tokens, list):
            raise TypeError("lookup_indices(): tokens must be a list of str")
        return [self[token] for token in tokens]

    def lookup_token(self, index: int) -> str:
        """The token at this index; RuntimeError outside the table."""
        self._check_index(index, end=len(self))
        return self._tokens[index]

    def lookup_tokens(self, indices: Sequence[int]) -> list[str]:
        """The token at each index; RuntimeError outside the table."""
        return [self.lookup_token(index) for index in indices]

    def get_default_index(self) -> int | None:
        """The index of unknown tokens, or None."""
        return self._default_index

    def set_default_index(self, index: int | None) -> None:
        """Set the index of unknown tokens."""
        self._default_index = index

    def append_token(self, token: str) -> None:
        """Add a token at the end; RuntimeError if the table has it already."""
        self.insert_token(token, len(self))

    def insert_token(self, token: str, index: int) -> None:
        """Add a token at this index and move the later ones; RuntimeError if the table has it already."""
        self._check_index(index, end=len(self) + 1)
        if token in self._indices:
            raise RuntimeError(
                f"Token {token} already exists in the Vocab with index: {self._indices[token]}"
            )
        self._tokens.insert(index, token)
        self._indices.update({moved: at for at, moved in enumerate(self._tokens[index:], start=index)})

    def get_stoi(self) -> dict[str, int]:
        """Indices by token, a copy."""
        return dict(self._indices)

    def get_itos(self) -> list[str]:
        """Tokens in order, a copy."""
        return list(self._tokens)

    def _check_index(self, index: int, end: int) -> None:
        if not 0 <= index < end:
            raise RuntimeError(f"Specified index {index} is out of bounds for vocab of size {len(self)}")

    def __getstate__(self) -> _State:
        default = [] if self._default_index is None else [self._default_index]
        return _PICKLE_VERSION, default, list(self._tokens), []

    def __setstate__(self, state: _State) -> None:
        version, default, tokens, tensors = state
        if version != _PICKLE_VERSION or tensors:
            raise RuntimeError(f"Found unexpected version for serialized Vocab: {version}")
        Vocab.__init__(self, tokens, default[0] if default else None)
