"""Loading a model: check that it fits, fetch its files, fill it with weights, and describe it in a card.

A cache keeps loaded models up to a size limit, so that loading one again takes no time.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from engine.errors import Refusal
from engine.models.downloads import Clock, Tell
from engine.models.encoder import RobertaModel, empty_model, size_in_bytes
from engine.models.memory import NotEnoughMemory, check_memory, memory_available_mb, memory_needed_mb
from engine.models.sources import ModelSource, ModelTokenizer, Weights, open_source
from engine.models.tokenizers import Tokenizer
from engine.records import MEGABYTE, DType, EncoderShape, ModelCard, ModelSpec
from engine.settings import Settings

ModelKey = tuple[str, DType, str]
"""Name, precision and device of a loaded model."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        model: torchtext's RobertaModel with a 2-class head, in eval mode, on the card's device in the card's dtype.
        tokenizer: gives ids that the model has embeddings for.
        card: its description: sizes, sources, notes.
    """

    model: RobertaModel
    tokenizer: Tokenizer
    card: ModelCard


def load_model(
    spec: ModelSpec,
    dtype: DType,
    device: str,
    settings: Settings,
    tell: Tell,
    clock: Clock,
    available_mb: Callable[[], float] = memory_available_mb,
) -> LoadedModel:
    """Load a model from the source in its spec, after checking that it fits into memory.

    Args:
        spec: names the model and its source; a shape it gives must be the files'.
        dtype: the precision to run in; weights are rounded to it once.
        device: "cpu", "cuda" or "cuda:1".
        settings: places, limits, and whether connections may be opened.
        tell: gets a `Download` event about four times a second during a download.
        clock: seconds; times the loading, downloads included.
        available_mb: memory in MB that may be used.

    Raises:
        NotEnoughMemory: the model does not fit; nothing was fetched.
        Refusal: the device is not there, or the model's files are missing, damaged, unreachable or of another kind.
    """
    started = clock()
    _check_device(device)
    source = open_source(spec, settings, tell, clock)
    needed = memory_needed_mb(source.shape, dtype)
    check_memory(spec.title, needed, available_mb(), settings.memory_reserve_mb)
    chosen = source.tokenizer()
    tokenizer = _checked_tokenizer(chosen.tokenizer, source.shape)
    weights = source.weights()
    model = _filled(weights, source, dtype, device)
    card = _card(spec, model, weights, chosen, source.shape, dtype, device)
    load_ms = (clock() - started) * 1000
    return LoadedModel(model, tokenizer, card.model_copy(update={"load_ms": load_ms}))


class ModelCache:
    """Loaded models up to a size in MB; the least recently used is dropped first."""

    def __init__(self, budget_mb: float) -> None:
        self._budget_mb = budget_mb
        self._kept: OrderedDict[ModelKey, LoadedModel] = OrderedDict()

    def get(self, key: ModelKey, load: Callable[[], LoadedModel]) -> LoadedModel:
        """The model of this key: the cached one, or the one that `load` returns, cached if it fits.

        If memory is short, cached models are dropped one after another before the refusal is raised.

        Raises:
            Refusal: from `load`.
        """
        if key not in self._kept:
            loaded = self._loaded(load)
            if loaded.card.memory_mb > self._budget_mb:
                return loaded
            self._kept[key] = loaded
        self._kept.move_to_end(key)
        self._shrink()
        return self._kept[key]

    def _loaded(self, load: Callable[[], LoadedModel]) -> LoadedModel:
        while True:
            try:
                return load()
            except NotEnoughMemory:
                if not self._kept:
                    raise
                self._kept.popitem(last=False)

    def _shrink(self) -> None:
        while sum(loaded.card.memory_mb for loaded in self._kept.values()) > self._budget_mb:
            self._kept.popitem(last=False)


def _check_device(device: str) -> None:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise Refusal(f"There is no device {device!r}; choose cpu or cuda.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device != "cpu" and int(device.partition(":")[2] or 0) >= count:
        raise Refusal(f"The device {device} is not there: torch sees {count} CUDA devices; choose cpu.")


def _filled(weights: Weights, source: ModelSource, dtype: DType, device: str) -> RobertaModel:
    model = empty_model(source.shape, dtype)
    weights.fill(model)
    return model.to(device)


def _card(
    spec: ModelSpec,
    model: RobertaModel,
    weights: Weights,
    chosen: ModelTokenizer,
    shape: EncoderShape,
    dtype: DType,
    device: str,
) -> ModelCard:
    return ModelCard(
        name=spec.name,
        title=spec.title,
        source=weights.source,
        checksum=weights.checksum,
        real_weights=spec.source != "random",
        tokenizer=chosen.tokenizer.name,
        shape=shape,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        memory_mb=size_in_bytes(model) / MEGABYTE,
        dtype=dtype,
        device=device,
        load_ms=0.0,
        notes=chosen.notes,
    )


def _checked_tokenizer(tokenizer: Tokenizer, shape: EncoderShape) -> Tokenizer:
    """The tokenizer, which then refuses ids that the model has no embedding for."""
    if tokenizer.padding_id != shape.padding_idx:
        raise Refusal(
            f"The model's tokenizer pads with id {tokenizer.padding_id} and its config.json says "
            f"{shape.padding_idx}; they belong to different models, so nothing was loaded."
        )

    def encode(texts: Sequence[str]) -> list[list[int]]:
        encoded = tokenizer.encode(texts)
        highest = max((max(ids, default=0) for ids in encoded), default=0)
        if max(highest, tokenizer.begin_id, tokenizer.end_id) >= shape.vocab_size:
            raise Refusal(
                f"The model's tokenizer gave the id {highest} and the model has {shape.vocab_size} embeddings; "
                "they belong to different models, so get the model's own tokenizer files."
            )
        return encoded

    return replace(tokenizer, encode=encode)
