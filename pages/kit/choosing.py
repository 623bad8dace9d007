"""Choosing and loading a model (Overview and Model page), and choosing paths (Benchmark page)."""

import shutil

import streamlit as st

from engine.catalog.models import CATALOG, DEFAULT_MODEL
from engine.catalog.paths import PATHS, PathGroup, paths_of
from engine.desk.tickets import TicketView
from engine.errors import Refusal
from engine.events import LoadRequest
from engine.records import ModelCard, ModelSpec
from engine.hosting import find_offered_model
from engine.present.words.runs import path_title
from engine.settings import load_settings
from pages.kit.job_panel import job_panel
from pages.kit.state import PATH_KEYS, submit, the_lab

LOAD_SLOT = "load"
SOURCES = {
    "embedded": "Included",
    "torchtext": "Pretrained",
    "random": "Random weights",
    "own": "Own folder or hub id",
}


def offered_sources() -> list[str]:
    """The sources of models; a shared server offers the catalogue only."""
    return [source for source in SOURCES if source != "own" or not load_settings().hosted]


def chosen_model() -> ModelSpec:
    """The chosen model's entry, before it is loaded; the default model if the chosen folder no longer exists."""
    lab = the_lab()
    try:
        return find_offered_model(lab.model, load_settings())
    except Refusal as refusal:
        st.warning(str(refusal))
        lab.model = DEFAULT_MODEL
        return CATALOG[DEFAULT_MODEL]


def devices() -> tuple[str, ...]:
    """Devices to offer, found without torch: a GPU's driver is taken as a sign of it, and the child checks again."""
    return ("cpu", "cuda") if shutil.which("nvidia-smi") else ("cpu",)


def choose_paths() -> None:
    """The paths to measure: the tutorial's, other ways to run the model, and lower precision in an expander."""
    _path_pills(
        "tutorial", "Paths of the tutorial", "The slow path is always measured too: it is the baseline."
    )
    _path_pills(
        "beyond",
        "Beyond the fastpath",
        "Other ways to run the same weights. Before timing, each one's answer is compared with the slow path's.",
    )
    with st.expander("In lower precision", icon=":material/compress:"):
        chosen = _path_pills(
            "lower precision",
            "Paths that compute in bf16 or int8",
            "Each computes in the precision in its name, even if the model is loaded in fp32. Faster on processors "
            "with units for it, and less exact: the result shows the difference.",
        )
    if chosen:
        st.caption(f"Chosen in lower precision: {'; '.join(map(path_title, chosen))}.")


def _path_pills(group: PathGroup, label: str, words: str) -> list[str]:
    names = paths_of(group)
    chosen: list[str] = st.pills(
        label,
        names,
        selection_mode="multi",
        default=[name for name in names if PATHS[name].default],
        format_func=path_title,
        key=PATH_KEYS[group],
        bind="query-params",
        help=words,
        wrap=True,
    )
    return chosen


def model_label(name: str) -> str:
    """A model in a list: its title, and the size of its download if it needs one."""
    spec = CATALOG.get(name)
    if spec is None:
        return name
    return f"{spec.title} ({spec.download_mb:,} MB download)" if spec.download_mb else spec.title


def needs_sentence(spec: ModelSpec) -> str:
    """The memory and the download that loading needs."""
    if spec.shape is None:
        return "The memory it needs is read from its files and checked before they are loaded."
    memory = f"Takes about {spec.shape.weights_mb('fp32'):,.0f} MB of memory in fp32"
    return (
        f"{memory} and a download of {spec.download_mb:,} MB."
        if spec.download_mb
        else f"{memory}, no download."
    )


def start_loading(name: str) -> None:
    """Choose a model and have the assistant load it; a callback. A bad name is refused in the panel."""

    def request() -> LoadRequest:
        if not name:
            raise Refusal("No model was named: enter a folder on the server, or owner/name on the hub.")
        find_offered_model(name, load_settings())
        the_lab().model = name
        return LoadRequest(model=name)

    submit(LOAD_SLOT, request)


def loading_panel() -> TicketView | None:
    """Draw the progress of loading, and keep the card of the loaded model."""
    view = job_panel(LOAD_SLOT)
    if view is not None and view.card is not None:
        the_lab().cards[view.card.name] = view.card
    return view


def show_card(card: ModelCard) -> None:
    """The loaded model: its size, and where it comes from."""
    shape = card.shape
    with st.grid(3):
        st.metric("Parameters", f"{card.parameters / 1e6:,.1f} M", border=True)
        st.metric("Layers", shape.num_encoder_layers, border=True)
        st.metric("Width", shape.embedding_dim, border=True)
        st.metric("Heads", shape.num_attention_heads, border=True)
        st.metric("Memory", f"{card.memory_mb:,.0f} MB", border=True)
        st.metric("Load time", _duration(card.load_ms), border=True)
    weights = (
        "pretrained weights"
        if card.real_weights
        else "random weights: its speed is real, its answers mean nothing"
    )
    st.table(
        {
            "Weights": f"{weights}, {card.dtype} on {card.device}",
            "Source": card.source,
            "Checksum": f"`{card.checksum}`",
            "Tokenizer": card.tokenizer,
            "Longest text": f"{shape.max_tokens} tokens",
        },
        border="horizontal",
        alt="Where the model comes from",
    )
    for note in card.notes:
        st.caption(note)


def _duration(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms < 1000 else f"{ms / 1000:,.1f} s"
