"""torchtext 0.18 on any torch: its Python half is unchanged, its compiled half is replaced if it cannot load.

The last torchtext was compiled for torch 2.3 and cannot be imported with another torch. `install()` puts Python
replacements in the place of its compiled classes. On every torch it makes torchtext's bundles read files as data only.
"""

import pickle
import sys
import types
import zipfile
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import torch

from engine.errors import Refusal
from engine.models.torchtext.native import MODULE
from engine.models.torchtext.native.gpt2_bpe import GPT2BPEEncoder
from engine.models.torchtext.native.sentencepiece import SentencePiece
from engine.models.torchtext.native.vocab import Vocab

Bridge = Literal["native", "bridged"]

# torchtext imports these by name; the XLM-R and RoBERTa bundles need none of them.
_NOT_SUPPLIED = (
    "BERTEncoder",
    "CLIPEncoder",
    "Regex",
    "RegexTokenizer",
    "Vectors",
    "_build_vocab_from_text_file",
    "_build_vocab_from_text_file_using_python_tokenizer",
    "_load_token_and_vectors_from_file",
    "_load_vocab_from_file",
)
# The only names in torchtext's own pickles of a vocabulary.
_VOCAB_GLOBALS = {
    ("torchtext.vocab.vocab", "Vocab"),
    (MODULE, "Vocab"),
    ("collections", "OrderedDict"),
    ("__builtin__", "set"),
    ("builtins", "set"),
}
_LOADERS = ("torchtext._download_hooks", "torchtext.models.roberta.bundler", "torchtext.models.t5.bundler")


def mode(torch_version: str = torch.__version__) -> Bridge:
    """Whether torchtext's compiled half fits this torch.

    The version decides: on macOS and Windows a library compiled for another torch may load and then misbehave.
    """
    return "native" if torch_version.startswith("2.3.") else "bridged"


def install() -> Bridge:
    """Make `import torchtext` work and its bundles safe to load; a second call changes nothing.

    torch itself does not change: the replacements are in `torchtext.*`, `torch.ops.torchtext` and
    `torch.classes.torchtext`.

    Raises:
        Refusal: torchtext 0.18 is not installed.
    """
    _check_installed()
    if mode() == "bridged" and "torchtext" not in sys.modules:
        _stand_in()
    torchtext = import_module("torchtext")
    torchtext.disable_torchtext_deprecation_warning()
    _read_files_as_data()
    return mode()


def load_vocab(path: str | Path) -> Any:
    """Read a torchtext `*.vocab.pt` into a `torchtext.vocab.Vocab`, without running code from the file.

    Such a file is a pickle, and torchtext's own loader runs any code in it.

    Raises:
        Refusal: the file is missing, is not a vocabulary, or names something that no vocabulary needs.
    """
    install()
    path = Path(path)
    try:
        return _checked_vocab(_VocabUnpickler(BytesIO(_pickle_in(path))).load())
    except FileNotFoundError:
        raise Refusal(f"There is no vocabulary {path}: fetch it, or give the folder that holds it.") from None
    except Exception as error:  # a broken pickle may raise anything
        reason = str(error) if isinstance(error, pickle.UnpicklingError) else "its content cannot be read"
        raise Refusal(
            f"{path.name} is not a torchtext vocabulary ({reason}), so nothing of it was used or run: "
            "remove it and fetch it again from a source you trust."
        ) from None


def load_state_dict_from_url(url: str, *args: Any, **options: Any) -> Any:
    """`torch.hub.load_state_dict_from_url` for torchtext's bundles; it reads files as data only.

    Like torch.hub, it looks in `$TORCH_HOME/hub/checkpoints` before it downloads a file.

    Raises:
        Refusal: the file holds something other than a vocabulary or tensors.
        urllib.error.URLError: the file is missing and cannot be downloaded.
    """
    name = Path(urlparse(url).path).name
    if name.endswith(".vocab.pt"):
        return load_vocab(_fetched(url, name))
    try:
        return torch.hub.load_state_dict_from_url(url, *args, **{"weights_only": True, **options})
    except pickle.UnpicklingError:
        raise Refusal(
            f"{name} holds something else than tensors, so nothing of it was used or run: "
            "remove it and fetch it again from a source you trust."
        ) from None


def _check_installed() -> None:
    try:
        installed = version("torchtext")
    except PackageNotFoundError:
        raise Refusal("torchtext is not installed: pip install torchtext==0.18.0.") from None
    if not installed.startswith("0.18."):
        raise Refusal(
            f"torchtext {installed} is installed, and 0.18 is needed: pip install torchtext==0.18.0."
        )


def _stand_in() -> None:
    native = _module(MODULE, Vocab=Vocab, SentencePiece=SentencePiece, GPT2BPEEncoder=GPT2BPEEncoder)
    _put(native, **{name: _not_supplied(name) for name in _NOT_SUPPLIED})
    # The module that does nothing but load the shared library.
    extension = _module("torchtext._extension", _torchtext=native)
    _put(import_module("torchtext"), _torchtext=native, _extension=extension)
    _put(torch.ops.torchtext, load_sp_model=SentencePiece.from_file, load_sp_model_string=SentencePiece)
    _put(torch.classes.torchtext, Vocab=Vocab)


def _put(namespace: object, **names: object) -> None:
    for name, value in names.items():
        setattr(namespace, name, value)


def _module(name: str, **names: object) -> types.ModuleType:
    module = types.ModuleType(name, "Stand-in for torchtext's compiled code.")
    module.__spec__ = ModuleSpec(name, loader=None)
    _put(module, **names)
    sys.modules[name] = module
    return module


def _not_supplied(name: str) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError(
            f"torchtext's compiled {name} is not available on torch {torch.__version__}"
        )

    return refuse


def _read_files_as_data() -> None:
    import_module(_LOADERS[0])
    for name in _LOADERS:
        # Bundles that are imported later get the function from the first of these modules.
        if name in sys.modules:
            _put(sys.modules[name], load_state_dict_from_url=load_state_dict_from_url)


def _fetched(url: str, name: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path))
    return path


def _pickle_in(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        return archive.read(name)


def _checked_vocab(value: Any) -> Any:
    expected: Any = import_module("torchtext.vocab").Vocab
    if not isinstance(value, expected) or not isinstance(vars(value).get("vocab"), _compiled_vocab()):
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__}")
    return value


def _compiled_vocab() -> type:
    kind: type = import_module(MODULE).Vocab
    return kind


class _VocabUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _VOCAB_GLOBALS:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")
        return super().find_class(module_name, global_name)
