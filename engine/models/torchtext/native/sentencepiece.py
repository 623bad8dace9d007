"""torchtext's SentencePiece object, built on the `sentencepiece` package.

Versions 0.1.99 to 0.2.1 give the same results as torchtext's compiled version (0.1.95). 0.2.2 and later break ties
between equally likely segmentations of unigram models, such as XLM-R's, in another order.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

from engine.errors import Refusal
from engine.models.torchtext.native import MODULE

_FIRST_EXACT = (0, 1, 99)
_FIRST_DIFFERENT = (0, 2, 2)
_INSTALL = "install it with: pip install 'sentencepiece>=0.1.99,<0.2.2'"


def check_version(installed: str) -> None:
    """Check that this version of `sentencepiece` gives the same tokens as torchtext.

    Raises:
        Refusal: it may give other tokens.
    """
    numbers = tuple(int(part) for part in installed.split(".")[:3] if part.isdecimal())
    if not _FIRST_EXACT <= numbers < _FIRST_DIFFERENT:
        raise Refusal(
            f"sentencepiece {installed} splits some texts for unigram models such as XLM-R differently from torchtext, "
            f"so no text was tokenized; {_INSTALL}."
        )


def load_processor(model: bytes) -> Any:
    """A `sentencepiece.SentencePieceProcessor` for the bytes of a .model file.

    Raises:
        Refusal: `sentencepiece` is missing, or its version gives other tokens.
        RuntimeError: the bytes are not a SentencePiece model.
    """
    try:
        check_version(version("sentencepiece"))
    except PackageNotFoundError:
        raise Refusal(f"SentencePiece models need the package sentencepiece: {_INSTALL}.") from None
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except (RuntimeError, OSError) as error:
        raise RuntimeError(f"Failed to load SentencePiece model. Error: {error}") from None
    return processor


class SentencePiece:
    """The object that `torchtext.data.functional.load_sp_model` returns; method names are torchtext's."""

    __module__ = MODULE

    def __init__(self, content: bytes) -> None:
        self._content = bytes(content)
        self._processor = load_processor(self._content)

    @classmethod
    def from_file(cls, path: str) -> Self:
        """Read a .model file; RuntimeError if it cannot be opened or is not a SentencePiece model."""
        try:
            with open(path, "rb") as file:  # noqa: PTH123  (torchtext hands over str or Path)
                return cls(file.read())
        except OSError:
            raise RuntimeError(f"Failed to open file :{path}") from None

    def EncodeAsPieces(self, text: str) -> list[str]:  # noqa: N802
        """The pieces of a text."""
        pieces: list[str] = self._processor.EncodeAsPieces(text)
        return pieces

    def EncodeAsIds(self, text: str) -> list[int]:  # noqa: N802
        """The model's own ids of the pieces of a text."""
        ids: list[int] = self._processor.EncodeAsIds(text)
        return ids

    def DecodePieces(self, pieces: list[str]) -> str:  # noqa: N802
        """The text of pieces."""
        return str(self._processor.DecodePieces(pieces))

    def DecodeIds(self, ids: list[int]) -> str:  # noqa: N802
        """The text of the model's own ids."""
        return str(self._processor.DecodeIds(ids))

    def GetPieceSize(self) -> int:  # noqa: N802
        """Number of pieces in the model."""
        return int(self._processor.GetPieceSize())

    def PieceToId(self, piece: str) -> int:  # noqa: N802
        """The model's own id of a piece; for an unknown piece, the id of the unknown piece."""
        return int(self._processor.PieceToId(piece))

    def IdToPiece(self, index: int) -> str:  # noqa: N802
        """The piece of one of the model's own ids; IndexError if the id is out of range."""
        return str(self._processor.IdToPiece(index))

    def __getstate__(self) -> bytes:
        return self._content

    def __setstate__(self, content: bytes) -> None:
        SentencePiece.__init__(self, content)
