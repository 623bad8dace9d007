"""Choosing and loading a model, shared by the Overview and the Model page, and choosing paths on the Benchmark page."""

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
    """Where models may come from: on a shared server only from the catalogue."""
    return [source for source in SOURCES if source != "own" or not load_settings().hosted]


def chosen_model() -> ModelSpec:
    """What is known of the chosen model before it is loaded; the default one where its folder has gone."""
    lab = the_lab()
    try:
        return find_offered_model(lab.model, load_settings())
    except Refusal as refusal:
        st.warning(str(refusal))
        lab.model = DEFAULT_MODEL
        return CATALOG[DEFAULT_MODEL]


def devices() -> tuple[str, ...]:
    """Devices that may be there, told without torch: a GPU shows by its driver, and the child checks for itself."""
    return ("cpu", "cuda") if shutil.which("nvidia-smi") else ("cpu",)


def choose_paths() -> None:
    """The paths to measure: the tutorial's, other ways to run the model, and, folded away, lower precision."""
    _path_pills(
        "tutorial", "Paths of the tutorial", "The slow path is always measured too: it is the baseline."
    )
    _path_pills(
        "beyond",
        "Beyond the fastpath",
        "Other ways to run the same weights; each is checked for the same answer first.",
    )
    with st.expander("In lower precision", icon=":material/compress:"):
        chosen = _path_pills(
            "lower precision",
            "In a precision of their own, whatever the model is in",
            "Faster where the processor has units for it, and less exact: the result says by how much.",
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
    """A model in a list: its title, and its download if it needs one."""
    spec = CATALOG.get(name)
    if spec is None:
        return name
    return f"{spec.title} ({spec.download_mb:,} MB download)" if spec.download_mb else spec.title


def needs_sentence(spec: ModelSpec) -> str:
    """What loading takes, told before it is asked for."""
    if spec.shape is None:
        return "Its files tell how much memory it takes; that is checked before they are loaded."
    memory = f"Takes about {spec.shape.weights_mb('fp32'):,.0f} MB of memory in fp32"
    return (
        f"{memory} and a download of {spec.download_mb:,} MB."
        if spec.download_mb
        else f"{memory}, no download."
    )


def start_loading(name: str) -> None:
    """Choose a model and have the assistant load it; a callback, so a name that cannot be is refused in the panel."""

    def request() -> LoadRequest:
        if not name:
            raise Refusal("No model is named: write a folder on the server, or an owner/name on the hub.")
        find_offered_model(name, load_settings())
        the_lab().model = name
        return LoadRequest(model=name)

    submit(LOAD_SLOT, request)


def loading_panel() -> TicketView | None:
    """Draw how the loading goes, and remember what was loaded."""
    view = job_panel(LOAD_SLOT)
    if view is not None and view.card is not None:
        the_lab().cards[view.card.name] = view.card
    return view


def show_card(card: ModelCard) -> None:
    """What was loaded, in numbers and sources."""
    shape = card.shape
    with st.grid(3):
        st.metric("Parameters", f"{card.parameters / 1e6:,.1f} M", border=True)
        st.metric("Layers", shape.num_encoder_layers, border=True)
        st.metric("Width", shape.embedding_dim, border=True)
        st.metric("Heads", shape.num_attention_heads, border=True)
        st.metric("Memory", f"{card.memory_mb:,.0f} MB", border=True)
        st.metric("Load time", _duration(card.load_ms), border=True)
    weights = (
        "real pretrained weights" if card.real_weights else "random weights: speed is real, answers are not"
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
