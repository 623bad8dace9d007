"""A hosted lab: what its visitors may request, and which messages they get."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalog.batches import PRESETS
from engine.catalog.models import CATALOG
from engine.catalog.paths import PATHS
from engine.errors import Refusal
from engine.events import (
    DoctorRequest,
    LoadRequest,
    Request,
    RunRequest,
    SweepRequest,
    TokenizeRequest,
    request_of,
)
from engine.hosting import check_request, find_offered_model, most_tokens, without_internals
from engine.made import made_batch
from engine.records import Batch, Experiment
from engine.settings import Settings
from engine.sweeps import new_sweep
from tests.sweep_samples import NOW, a_plan

HOSTED, LAPTOP = Settings(hosted=True), Settings(hosted=False)
CORES = 4


def run_of(trace_dir: str | None = None, **fields: Any) -> RunRequest:
    values = {"model": "minilm", "batch": PRESETS["tutorial-big"], "paths": ("slow", "fast-nested"), **fields}
    return RunRequest(experiment=Experiment.model_validate(values), trace_dir=trace_dir)


def sweep_of(**fields: Any) -> SweepRequest:
    return request_of(new_sweep(a_plan(**fields), "MiniLM", NOW))


def doctor_of(**fields: Any) -> DoctorRequest:
    return DoctorRequest.model_validate({"model": "minilm", "batch": PRESETS["mixed"], **fields})


def texts(count: int, characters: int, **fields: Any) -> Batch:
    return Batch(name="own", texts=("a" * characters,) * count, **fields)


@pytest.mark.parametrize("model", CATALOG)
@pytest.mark.parametrize("batch", PRESETS.values(), ids=list(PRESETS))
def test_every_offered_model_and_batch_is_allowed(model: str, batch: Batch) -> None:
    requests: tuple[Request, ...] = (
        LoadRequest(model=model, device="cuda:1"),
        TokenizeRequest(model=model, batch=batch),
        run_of(model=model, batch=batch, paths=tuple(PATHS), threads=CORES, iterations=10),
        doctor_of(model=model, batch=batch, modifications=("left-padding", "hook")),
        sweep_of(model=model, threads=(1, CORES)),
    )
    for request in requests:
        check_request(request, HOSTED, CORES)


REFUSED: dict[str, tuple[Request, str]] = {
    "a folder": (LoadRequest(model="/etc"), "only the models minilm"),
    "a hub id": (TokenizeRequest(model="owner/name", batch=PRESETS["mixed"]), "only the models minilm"),
    "a model to run": (run_of(model="../weights"), "only the models minilm"),
    "a model to examine": (doctor_of(model="owner/name"), "only the models minilm"),
    "a device": (LoadRequest(model="minilm", device="cpu; rm"), "device is cpu, cuda"),
    "a device to run on": (run_of(device="meta"), "device is cpu, cuda"),
    "a device to examine": (doctor_of(device="meta"), "device is cpu, cuda"),
    "a model to sweep": (sweep_of(model="/etc"), "only the models minilm"),
    "a device to sweep on": (sweep_of(device="meta"), "device is cpu, cuda"),
    "a path to sweep": (sweep_of(paths=("slow", "fastest")), "no path 'fastest'"),
    "cells": (sweep_of(batch_sizes=(2, 4, 8, 16, 32)), "30 cells are more than the 24 allowed"),
    "threads of a sweep": (sweep_of(threads=(1, 5)), "5 threads are more than the 4 allowed"),
    "seconds of a cell": (sweep_of(cell_budget_s=11), "11 seconds of rounds in a cell are more than the 10"),
    "rounds of a cell": (sweep_of(iterations=1000), "1,000 rounds are more than the 200 allowed"),
    "tokens of a cell": (sweep_of(batch_sizes=(128,), lengths=(400,)), "51,200 tokens in the batch"),
    "a length of a sweep": (sweep_of(lengths=(513,)), "513 tokens is more than the 512"),
    "rows of a made batch": (run_of(batch=made_batch(257, 8, 0.0)), "257 texts are more than the 256"),
    "tokens of a made batch": (run_of(batch=made_batch(128, 400, 0.0)), "51,200 tokens in the batch"),
    "a path": (run_of(paths=("slow", "fastest")), "no path 'fastest'"),
    "a modification": (doctor_of(modifications=("storm",)), "no modification 'storm'"),
    "threads": (run_of(threads=CORES + 1), "5 threads are more than the 4 allowed"),
    "threads of the doctor": (doctor_of(threads=CORES + 1), "5 threads are more than the 4 allowed"),
    "rounds": (run_of(iterations=201), "201 rounds"),
    "time": (run_of(budget_s=601), "601 seconds"),
    "time of the doctor": (doctor_of(budget_s=601), "601 seconds"),
    "traces": (run_of(trace_dir="/home/visitor/traces"), "Traces are not kept"),
    "many texts": (run_of(batch=texts(257, 1)), "remove 1."),
    "a long text": (TokenizeRequest(model="minilm", batch=texts(1, 20_001)), "shorten or split it."),
    "blank texts": (run_of(batch=Batch(name="own", texts=(" ",))), "All texts are blank"),
    "much padding": (run_of(batch=texts(100, 1_000)), "51,200 tokens in the batch"),
}


@pytest.mark.parametrize(("request_", "words"), REFUSED.values(), ids=list(REFUSED))
def test_forbidden_requests_are_refused_only_in_a_hosted_lab(request_: Request, words: str) -> None:
    with pytest.raises(Refusal) as refusal:
        check_request(request_, HOSTED, CORES)
    assert words in str(refusal.value)
    assert "FASTPATH_" not in str(refusal.value), "a visitor cannot set the host's variables"
    check_request(request_, LAPTOP, CORES)


def test_a_hosted_name_never_reaches_the_file_system(tmp_path: Any) -> None:
    (tmp_path / "config.json").touch()
    assert find_offered_model(str(tmp_path), LAPTOP).source == "folder"
    with pytest.raises(Refusal, match="only the models") as refusal:
        find_offered_model(str(tmp_path), HOSTED)
    assert str(tmp_path) not in str(refusal.value)
    assert find_offered_model("minilm", HOSTED) is CATALOG["minilm"]


def test_tokens_are_counted_or_bounded_from_above() -> None:
    assert most_tokens(texts(3, 5, lengths=(4, 4, 7), shape=(3, 7)), HOSTED) == 21
    assert most_tokens(texts(3, 5), HOSTED) == 3 * 7
    assert most_tokens(texts(3, 10_000), HOSTED) == 3 * HOSTED.max_tokens
    assert most_tokens(Batch(name="own", texts=("\U0001f600",)), HOSTED) == 4 + 2


SAID = {
    "The file /home/lab/.cache/torch/text/roberta.vocab.pt is broken.": "The file roberta.vocab.pt is broken.",
    "No journal in '/data/lab'; go on.": "No journal in 'lab'; go on.",
    "See ~/notes.txt and ../up/there.json.": "See notes.txt and there.json.",
    "Fetched from https://user:key@mirror.example/text/ (404).": "Fetched from (an address) (404).",
    "The scheduler tcp://10.0.0.1:8786 does not answer.": "The scheduler (an address) does not answer.",
    "The worker on 10.0.0.7:41001 left.": "The worker on (an address) left.",
    "300 texts: remove 44, or raise FASTPATH_MAX_TEXTS.": "300 texts: remove 44.",
    "owner/name and/or 1/2 of 0.18.0 / 2.3.1.": "owner/name and/or 1/2 of 0.18.0 / 2.3.1.",
}


@pytest.mark.parametrize(("sentence", "said"), SAID.items())
def test_visitors_see_no_folders_and_no_addresses(sentence: str, said: str) -> None:
    assert without_internals(sentence, HOSTED) == said
    assert without_internals(sentence, LAPTOP) == sentence


@given(st.lists(st.from_regex(r"[A-Za-z0-9_.-]{1,12}", fullmatch=True), min_size=2, max_size=6))
def test_only_the_last_part_of_a_path_is_shown(parts: list[str]) -> None:
    said = without_internals(f"Cannot read /{'/'.join(parts)} now.", HOSTED)
    assert said == f"Cannot read {parts[-1]} now."
    assert not re.search(r"/", said)
