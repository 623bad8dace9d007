"""Runs are found by words and by what was measured, in every order, on both databases."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.analysis.conclude import concluded
from engine.catalog.batches import PRESETS
from engine.errors import Refusal
from engine.records import Run
from engine.store.queries import SEARCH_LENGTH, RunFilter, Sort
from engine.store.store import Store
from tests.samples import a_run_with_costs, sample_environment, sample_run
from tests.store.making import START, a_run, an_experiment, with_texts


def named(machine: str) -> dict[str, object]:
    return {"environment": sample_environment().model_copy(update={"machine": machine})}


def slower(run: Run) -> Run:
    """The same run with a fastpath that is half as fast as the slow path."""
    return a_run(run.id, paths=concluded(sample_run(fast_ms=(20.0,) * 8)).paths)


@pytest.fixture
def kept(store: Store) -> Store:
    """Three runs that differ in everything, the last one of a visitor's own texts."""
    preset = an_experiment(batch=PRESETS["mixed"])
    store.save(a_run("minilm", 0, title="Über alles", experiment=preset, **named("lab-1")))
    other = preset.model_copy(update={"model": "xlmr-base", "dtype": "bf16", "device": "cuda"})
    more = a_run_with_costs().paths
    paths = tuple(path.name for path in more)
    costly = other.model_copy(update={"paths": paths, "allocator": "kept"})
    store.save(a_run("xlmr", 1, title="another", experiment=costly, paths=more, **named("lab-2")))
    alone = with_texts("my secret").model_copy(update={"paths": ("slow",)})
    store.save(a_run("own", 2, title="Zuletzt", experiment=alone, paths=sample_run().paths[:1]))
    store.annotate("xlmr", tags=("100%", "amx"), note="Measured for the ticket_7.\nSecond line.")
    store.annotate("own", tags=("amx", "mine"))
    return store


def ids(store: Store, sort: Sort = "newest", **wanted: object) -> list[str]:
    conditions = RunFilter.model_validate(wanted)
    found = [row.id for row in store.find(conditions, sort)]
    assert store.count(conditions) == len(found)
    return found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["own", "xlmr", "minilm"]),
        ({"models": ("minilm", "xlmr-base")}, ["own", "xlmr", "minilm"]),
        ({"models": ("xlmr-base",)}, ["xlmr"]),
        ({"models": ("xlmr",)}, []),
        ({"batches": ("mixed",)}, ["xlmr", "minilm"]),
        ({"batches": ("mixed",), "devices": ("cpu",)}, ["minilm"]),
        ({"dtypes": ("bf16",)}, ["xlmr"]),
        ({"allocators": ("system",)}, ["own", "minilm"]),
        ({"machines": ("lab-1", "lab-2")}, ["xlmr", "minilm"]),
        ({"verdicts": ("faster",)}, ["xlmr", "minilm"]),
        ({"verdicts": ("slower", "not sure")}, []),
        ({"tags": ("amx",)}, ["own", "xlmr"]),
        ({"tags": ("100%", "mine")}, ["own", "xlmr"]),
        ({"tags": ("am",)}, []),
        ({"paths": ("slow",)}, ["own", "xlmr", "minilm"]),
        ({"paths": ("slow", "packed", "packed")}, ["xlmr"]),
        ({"paths": ("packed", "compile")}, []),
        ({"presets_only": True}, ["xlmr", "minilm"]),
        ({"presets_only": True, "tags": ("mine",)}, []),
        ({"deleted": True}, []),
        ({"models": ("minilm\0",)}, ["own", "minilm"]),
    ],
    ids=str,
)
def test_a_filter_is_all_of_its_conditions_and_any_of_their_values(
    kept: Store, wanted: dict[str, object], found: list[str]
) -> None:
    assert ids(kept, **wanted) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("über", ["minilm"]),
        ("ÜBER ALLES", ["minilm"]),
        ("alles über", ["minilm"]),
        ("mixed", ["xlmr", "minilm"]),
        ("xlmr", ["xlmr"]),
        ("amx zuletzt", ["own"]),
        ("amx über", []),
        ("second ticket_7", ["xlmr"]),
        ("ticket%7", []),
        ("tick_t", []),
        ("%", ["xlmr"]),
        ("_", ["xlmr"]),
        ("/", []),
        ("\\", []),
        ("'", []),
        ("lab-1", []),
        ("secret", []),
        ("\0über", ["minilm"]),
        ("  ", ["own", "xlmr", "minilm"]),
    ],
)
def test_every_word_occurs_in_title_model_batch_tags_or_note(
    kept: Store, words: str, found: list[str]
) -> None:
    assert ids(kept, words=words) == found


def test_a_search_that_is_too_long_is_refused(store: Store) -> None:
    assert ids(store, words="a " * (SEARCH_LENGTH // 2)) == []
    for ask in (store.find, store.count):
        with pytest.raises(Refusal, match="A search has at most 200 characters; this one has 201"):
            ask(RunFilter(words="a" * (SEARCH_LENGTH + 1)))


def test_every_order_and_runs_without_a_speedup_come_last(kept: Store) -> None:
    kept.save(slower(a_run("slow")).model_copy(update={"created_at": START + timedelta(minutes=3)}))
    assert ids(kept, "newest") == ["slow", "own", "xlmr", "minilm"]
    assert ids(kept, "oldest") == ["minilm", "xlmr", "own", "slow"]
    assert ids(kept, "fastest")[-1] == ids(kept, "slowest")[-1] == "own"
    speedups = [row.speedup for row in kept.find(RunFilter(), "fastest")][:-1]
    assert speedups == [5.0, 2.0, 0.5]
    assert [row.speedup for row in kept.find(RunFilter(), "slowest")][:-1] == speedups[::-1]
    titles = [row.title.casefold() for row in kept.find(RunFilter(), "title")]
    assert titles == sorted(titles)


def test_a_row_has_what_a_list_shows(kept: Store) -> None:
    (row,) = kept.find(RunFilter(tags=("100%",)))
    assert (row.title, row.model, row.batch, row.device) == ("another", "xlmr-base", "mixed", "cuda")
    assert (row.dtype, row.allocator, row.machine) == ("bf16", "kept", "lab-2")
    assert row.paths == ("slow", "fast-nested", "packed", "packed@bf16")
    assert (row.best_path, row.verdict, row.speedup) == ("packed@bf16", "faster", 5.0)
    assert (row.tags, row.created_at) == (("100%", "amx"), START + timedelta(minutes=1))
    assert kept.row("xlmr") == row
    assert kept.row("nowhere") is None


def test_a_path_that_failed_was_not_measured(store: Store) -> None:
    run = a_run()
    failed = run.paths[1].model_copy(update={"status": "failed", "samples_ms": (), "speedup": None})
    store.save(run.model_copy(update={"paths": (run.paths[0], failed)}))
    assert ids(store, paths=("fast-nested",)) == []
    assert store.choices().paths == ("slow",)
    assert store.find(RunFilter())[0].paths == ("slow",)


def test_the_choices_are_the_values_that_occur(kept: Store) -> None:
    choices = kept.choices()
    assert choices.models == ("minilm", "xlmr-base")
    assert choices.batches == ("mixed", "tutorial-small")
    assert (choices.devices, choices.dtypes) == (("cpu", "cuda"), ("bf16", "fp32"))
    assert (choices.allocators, choices.machines) == (("kept", "system"), ("lab-1", "lab-2"))
    assert (choices.verdicts, choices.tags) == (("faster",), ("100%", "amx", "mine"))
    assert choices.paths == ("fast-nested", "packed", "packed@bf16", "slow")


def test_of_a_long_name_lists_have_the_end(store: Store) -> None:
    """Indexes of PostgreSQL hold no long texts."""
    folder = "".join(f"/folder-{number}" for number in range(1000))
    unnamed = with_texts("a").batch.model_copy(update={"name": "\U0001f917" * 80})
    experiment = an_experiment(model=folder, batch=unnamed, device="d" * 9000)
    store.save(a_run(experiment=experiment, **named("\U0001f917" * 9000)))
    (model,) = store.choices().models
    assert len(model) == 120
    assert folder.endswith(model.removeprefix("…"))
    assert ids(store, models=(model,)) == ["a"]


def test_the_choices_tell_nothing_of_own_texts_or_deleted_runs(kept: Store) -> None:
    assert kept.choices(presets_only=True).tags == ("100%", "amx")
    assert kept.choices(presets_only=True).batches == ("mixed",)
    kept.delete(["xlmr"])
    choices = kept.choices(presets_only=True)
    assert (choices.tags, choices.models, choices.paths) == ((), ("minilm",), ("fast-nested", "slow"))


def test_speedups_of_repeated_runs_come_oldest_first(store: Store) -> None:
    repeated = a_run_with_costs()
    for minutes in (2, 0, 1):
        moment = START + timedelta(minutes=minutes)
        store.save(repeated.model_copy(update={"id": str(minutes), "created_at": moment, **named("lab")}))
    store.save(a_run("other"))
    key = store.find(RunFilter(words="", paths=("packed",)))[0].experiment_key
    found = store.repeats(key)
    assert [one.run_id for one in found] == ["0"] * 3 + ["1"] * 3 + ["2"] * 3
    assert [one.path for one in found[:3]] == ["fast-nested", "packed", "packed@bf16"]
    packed = found[1]
    assert (packed.speedup, packed.low, packed.high, packed.verdict) == (2.5, 2.5, 2.5, "faster")
    assert (packed.created_at, packed.machine) == (START, "lab")
    assert [one.run_id for one in store.repeats(key, limit=1)] == ["2"] * 3
    store.delete(["1"])
    assert {one.run_id for one in store.repeats(key)} == {"0", "2"}
    assert store.repeats("nothing") == ()


@given(words=st.text(max_size=SEARCH_LENGTH))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_search_is_answered_alike_by_both_databases(kept: Store, words: str) -> None:
    """What Python finds in the casefolded texts is what the database finds."""
    texts = {
        row.id: "\n".join((row.title, row.model, row.batch, *row.tags, row.note)).casefold()
        for row in kept.find(RunFilter())
    }
    wanted = [word.replace("\0", "") for word in words.replace("\0", "").casefold().split()]
    expected = [run_id for run_id, text in texts.items() if all(word in text for word in wanted)]
    assert ids(kept, words=words) == expected
