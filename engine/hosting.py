"""What visitors of a hosted lab may request, and error messages without internals; pure functions.

Without `FASTPATH_HOSTED` every request is allowed and no message is changed.
"""

import re

from engine.analysis.verdict import MOST_USEFUL_ROUNDS
from engine.catalog.models import CATALOG, find_model
from engine.catalog.modifications import find_modifications
from engine.catalog.paths import find_paths
from engine.errors import Refusal
from engine.events import DoctorRequest, LoadRequest, Request, RunRequest, SweepRequest
from engine.records import Batch, Experiment, ModelSpec
from engine.settings import Settings
from engine.sweeps import SweepPlan, check_fits
from engine.texts import checked_texts

MAX_ITERATIONS = MOST_USEFUL_ROUNDS
"""As many rounds as are measured at most until an answer is precise."""
MAX_CELLS = 24
"""Cells of a sweep: some minutes of a machine that others wait for."""
MAX_CELL_S = 10.0
SPECIAL_TOKENS = 2
"""Tokens that are put around a text."""

_DEVICE = re.compile(r"cpu|cuda(:\d{1,2})?")
_ADVICE_TO_THE_HOST = re.compile(r",? or (raise|set|unset) FASTPATH_\w+")
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s,;)]+|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b")
_FOLDERS = re.compile(r"(?<![\w/.~])(~|\.{0,2})/([^\s/,;:'\")]+/)*(?=[^\s/,;:'\")])")


def check_request(request: Request, settings: Settings, cores: int) -> None:
    """Check that a visitor may make this request.

    Args:
        cores: of this machine; the largest number of threads allowed.

    Raises:
        Refusal: the lab is hosted and visitors may not make this request; the message has no internals.
    """
    if not settings.hosted:
        return
    try:
        _check(request, settings, cores)
    except Refusal as refusal:
        raise Refusal(without_internals(str(refusal), settings)) from None


def find_offered_model(name: str, settings: Settings) -> ModelSpec:
    """The model of this name, if it is offered here; in a hosted lab a name never reaches the file system or the hub.

    Raises:
        Refusal: there is no such model, or visitors may not use it.
    """
    if not settings.hosted:
        return find_model(name)
    if name not in CATALOG:
        raise Refusal(
            f"On this shared server there are only the models {', '.join(CATALOG)}: choose one of them."
        )
    return CATALOG[name]


def without_internals(sentence: str, settings: Settings) -> str:
    """A message for visitors: without folders, addresses, and advice that only the host can follow."""
    if not settings.hosted:
        return sentence
    return without_places(_ADVICE_TO_THE_HOST.sub("", sentence))


def without_places(words: str) -> str:
    """Words without the folders of files and without addresses of servers, which readers elsewhere have no use for."""
    return _FOLDERS.sub("", _ADDRESS.sub("(an address)", words))


def _check(request: Request, settings: Settings, cores: int) -> None:
    if isinstance(request, RunRequest):
        _check_experiment(request.experiment, settings, cores)
        if request.trace_dir:
            raise Refusal("Traces are not kept on this shared server: measure without them.")
        return
    if isinstance(request, SweepRequest):
        _check_plan(request.plan, settings, cores)
        return
    find_offered_model(request.model, settings)
    if not isinstance(request, LoadRequest):
        _check_batch(request.batch, settings)
    if isinstance(request, DoctorRequest):
        find_modifications(request.modifications)
        _check_effort(request, settings, cores)
    if isinstance(request, LoadRequest | DoctorRequest):
        _check_device(request.device)


def _check_experiment(experiment: Experiment, settings: Settings, cores: int) -> None:
    find_offered_model(experiment.model, settings)
    find_paths(experiment.paths)
    _check_batch(experiment.batch, settings)
    _check_device(experiment.device)
    _check_effort(experiment, settings, cores)
    _at_most("rounds", experiment.iterations or 0, MAX_ITERATIONS)


def _check_plan(plan: SweepPlan, settings: Settings, cores: int) -> None:
    shape = find_offered_model(plan.model, settings).shape
    find_paths(plan.paths)
    check_fits(plan, shape, settings.max_tokens, settings.max_texts)
    _check_device(plan.device)
    _at_most("cells", plan.size, MAX_CELLS)
    _at_most("threads", max(plan.threads, default=0), cores)
    _at_most("seconds of rounds in a cell", plan.cell_budget_s, MAX_CELL_S)
    _at_most("rounds", plan.iterations or 0, MAX_ITERATIONS)
    _at_most(
        "tokens in the batch, padding included,",
        max(plan.batch_sizes) * max(plan.lengths),
        settings.max_batch_tokens,
    )


def _check_effort(asked: Experiment | DoctorRequest, settings: Settings, cores: int) -> None:
    _at_most("threads", asked.threads or 0, cores)
    _at_most("seconds of measuring", asked.budget_s, settings.max_budget_s)


def _check_batch(batch: Batch, settings: Settings) -> None:
    if batch.made is None:
        checked_texts(batch.texts, settings)
    _at_most("texts", batch.rows, settings.max_texts)
    _at_most(
        "tokens in the batch, padding included,", most_tokens(batch, settings), settings.max_batch_tokens
    )


def most_tokens(batch: Batch, settings: Settings) -> int:
    """Tokens of a batch with padding: counted, or an upper bound of one token a byte."""
    if batch.shape is not None:
        texts, longest = batch.shape
        return texts * longest
    longest_bytes = max(len(text.encode()) for text in batch.texts)
    return len(batch.texts) * min(longest_bytes + SPECIAL_TOKENS, settings.max_tokens)


def _check_device(device: str) -> None:
    if not _DEVICE.fullmatch(device):
        raise Refusal("A device is cpu, cuda, or cuda: and a number: choose one of them.")


def _at_most(what: str, asked: float, allowed: float) -> None:
    if asked > allowed:
        raise Refusal(
            f"{asked:,.0f} {what} are more than the {allowed:,.0f} allowed on this shared server: ask for less."
        )
