"""A link carries a run and nothing private, stays short, stays readable, and no text of a link does any harm."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine.analysis.conclude import concluded
from engine.analysis.recommend import recommend
from engine.errors import Refusal
from engine.findings import Findings
from engine.present.charts.explanations import waterfall_chart
from engine.present.charts.runs import operator_chart, speedup_chart
from engine.present.links.codec import (
    MOST_BYTES,
    MOST_CHARACTERS,
    SHORT_CHARACTERS,
    link_of,
    packed_text,
    read_link,
    written,
)
from engine.present.links.columns import to_plain
from engine.present.links.shared import OTHER_OPERATORS, SharedRun, recommendation_of
from engine.present.links.sharing import shared_of
from engine.present.links.words import asked_words, environment_rows, left_out_sentence, path_row
from engine.present.words.allocators import page_faults_sentence
from engine.present.words.runs import (
    centre_sentences,
    choice_sentences,
    looks_sentence,
    recommendation_sentences,
    speedups_caption,
    verdict_sentence,
)
from engine.records import Run, read_run
from tests.samples import a_run_with_costs

DATA = Path(__file__).parents[2] / "data"
TUTORIAL = read_run((DATA / "run_minilm_tutorial_big.json").read_bytes())
MORE_PATHS = ("slow-grad", "bucketed", "packed", "packed@bf16", "openvino")

LINK_OF_VERSION_1 = (
    "1.NJGnIc1Yy27cMAz8laKXXgTBIkXJ-pbAh_R17SHn_ntnKLtrdW1kN2mCXIi1ZckjLsUZz5rEr6JSyuP3n4_f8i6JubZc5QOl8u"
    "kHF51ekC9RQyHZa_P1jnpkM1yCJ2qUE2-nVN5CobjBt1kpX54-_XJ75V_ZktqVcCnhXomiV_705yNlslcGo9iYrcsNGfQGyedOwX"
    "GtM0YNsBE4ai2knMNsMS872m41FhCDSlQNtcWqy8jkU6yihYTuYAdOr4k9ObVsGNnTO4ayuArImb35lOkv5H1haI0mA0UvBxx9ws"
    "Eps21jhSB9oztOTlUzD1k2qrx3Ied7DaDlZj5HDVX-OfNEMiwpH1L6az9Jb_r-PZQNH1MkPKSG-mBh1srhKaHokb6ARmMcRitl8Z"
    "ZCxWrrM15MOK-YBSmY23KH2nixfzEYN6OZsTdjzi2d5zyLAx30vENy5tDs_ZXRgPp_btFttXzsU14B3lubo096ehi6SpyCsZ4sey"
    "GhcmZ86ngQXmnMDAY1wKbZ61GgDJQN33IPkJhUmxWqp0fO5Dk2Lz8WbWAJTpXTULoB9zG1ZA-OBCvIjIoUlnSjfCAucOgc0CuwIG"
    "a2DWSNW8ANYMJLegAwJRPVNTiUOOka1GEUEIBZ1L8whTq5tEIQfMD8qBTDDfMbqlzfVtjSPGywt7fPFzTWA7cxR9PQfA6ucN5yD9"
    "guACpheUglEDQ4GiIBS-Fi3nbCl3RkswjH1Qd9L8WhttT3ip9TXiMzljiqpMRobduvzHxE-Yq-PckQe4XJ7QkSRcupZB1s0PtOYY"
    "bIt0iARAchsiy__wA"
)
"""A link of the tutorial's run, made when version 1 began: its readers keep it for years."""


def eight_paths(seed: int = 0) -> Run:
    """A run of eight paths with different figures, as a real one has: no path's are another's."""
    random = Random(seed)
    more = []
    for name in MORE_PATHS:
        path, factor = random.choice(TUTORIAL.paths), random.uniform(0.3, 1.3)
        assert path.profile is not None
        figures = {
            "name": name,
            "samples_ms": tuple(ms * factor * random.uniform(0.97, 1.03) for ms in path.samples_ms),
            **{
                key: random.uniform(1, 2000)
                for key in ("first_call_ms", "prepare_ms", "weights_mb", "peak_memory_mb")
            },
            "page_faults": random.randrange(3000),
        }
        ops = tuple(
            op.model_copy(update={"self_ms": op.self_ms * factor * random.uniform(0.8, 1.2)})
            for op in path.profile.ops
        )
        groups = {group: ms * random.uniform(0.8, 1.2) for group, ms in path.profile.groups.items()}
        profile = path.profile.model_copy(update={"ops": ops, "groups": groups})
        more.append(path.model_copy(update={**figures, "profile": profile}))
    paths = (*TUTORIAL.paths, *more)
    experiment = TUTORIAL.experiment.model_copy(update={"paths": tuple(path.name for path in paths)})
    return concluded(TUTORIAL.model_copy(update={"paths": paths, "experiment": experiment, "order": ()}))


def test_a_link_does_not_say_that_it_was_measured_here() -> None:
    """Verdict and recommendation name another place."""
    _, shared = link_of(TUTORIAL)
    found = recommendation_of(shared)
    assert found is not None
    said = (verdict_sentence(shared, "there"), *choice_sentences(shared, found, "there"))
    assert "as fast as the slow path there" in said[0]
    assert not any("here" in sentence.replace("there", "") for sentence in said)


def sentences(run: Findings) -> tuple[str, ...]:
    """What can be said of a run and of the same run from a link."""
    said = (verdict_sentence(run), speedups_caption(run), page_faults_sentence(run), looks_sentence(run))
    return (*said, *centre_sentences(run))


@pytest.mark.parametrize(
    "run", [TUTORIAL, a_run_with_costs(), eight_paths()], ids=lambda run: str(len(run.paths))
)
def test_a_link_says_what_its_run_says(run: Run) -> None:
    """Verdict and recommendation are word for word the run's, and figures agree in their digits."""
    text, shared = link_of(run)
    assert read_link(text) == shared
    assert written(shared) == text
    assert sentences(shared) == sentences(run)
    found = recommendation_of(shared)
    assert (choice_sentences(shared, found) if found else ()) == recommendation_sentences(run)
    for path in run.paths:
        assert shared.path(path.name).median_ms == pytest.approx(path.median_ms, rel=1e-3)
        assert shared.path(path.name).speedup_ci95 == (
            path.speedup_ci95 and pytest.approx(path.speedup_ci95, rel=1e-3)
        )
        assert (shared.path(path.name).verdict, shared.path(path.name).evidence) == (
            path.verdict,
            path.evidence,
        )
    assert (shared.id, shared.rounds, shared.title) == (run.id, run.rounds, run.title)


def test_a_link_of_the_day_version_1_began_can_still_be_read() -> None:
    """Changing the dictionary or the form of version 1 breaks every link that people have kept."""
    shared = read_link(LINK_OF_VERSION_1)
    assert (shared.id, shared.title, shared.rounds) == (TUTORIAL.id, TUTORIAL.title, TUTORIAL.rounds)
    assert shared.path("fast-nested").speedup == 1.212
    assert shared.environment.torch == "2.13.0+cpu"
    assert verdict_sentence(shared) == verdict_sentence(TUTORIAL)
    assert shared.layers == 6


@pytest.mark.parametrize("seed", range(4))
def test_a_full_run_of_eight_paths_fits_into_a_short_link(seed: int) -> None:
    """2,000 characters pass through chat programs and mail; the larger operators are in them."""
    text, shared = link_of(eight_paths(seed))
    assert len(shared.paths) == 8
    assert len(text) < SHORT_CHARACTERS
    assert all(path.profile is not None and len(path.profile.ops) > 4 for path in shared.paths)


def test_operators_are_left_out_until_the_link_is_short_and_their_time_is_still_counted() -> None:
    """The sum of the self times stays the same, so that the bars of the others keep their length."""
    rich, poor = shared_of(TUTORIAL, 0.0), shared_of(TUTORIAL, 0.08)
    assert len(written(poor)) < len(written(rich))
    for path in TUTORIAL.paths:
        assert path.profile is not None
        kept = poor.path(path.name).profile
        assert kept is not None
        assert kept.ops[-1].name == OTHER_OPERATORS
        assert sum(op.self_ms for op in kept.ops) == pytest.approx(
            sum(op.self_ms for op in path.profile.ops), rel=0.01
        )
    assert "operators with less than 8.0% of a path's time" in left_out_sentence(poor)
    assert "all operators" in left_out_sentence(shared_of(TUTORIAL, None))


def test_a_run_with_too_many_paths_is_refused_in_one_sentence() -> None:
    """No link is longer than what is read."""
    random, path = Random(0), TUTORIAL.path("fast-mha")
    many = [
        path.model_copy(
            update={
                "name": f"path-{n}",
                "verdict": "not sure",
                "verdict_reason": f"{random.getrandbits(700):x}",
            }
        )
        for n in range(97)
    ]
    with pytest.raises(Refusal, match=r"100 paths does not fit .* download its JSON instead"):
        link_of(TUTORIAL.model_copy(update={"paths": (*TUTORIAL.paths, *many)}))


def test_nothing_private_is_in_a_link() -> None:
    """No text of the batch, no name of the machine, no folder, no address, no variable of the environment."""
    batch = TUTORIAL.experiment.batch.model_copy(update={"name": "own texts", "texts": ("my secret",) * 3})
    experiment = TUTORIAL.experiment.model_copy(update={"batch": batch, "model": "/home/secret/models/mine"})
    card = TUTORIAL.model_card and TUTORIAL.model_card.model_copy(update={"source": "folder /home/secret"})
    places = {"machine": "secret-host", "allocator": {"LD_PRELOAD": "/home/secret/libjemalloc.so"}}
    failed = TUTORIAL.paths[1].model_copy(
        update={
            "status": "failed",
            "median_ms": None,
            "samples_ms": (),
            "profile": None,
            "reason": "The file /home/secret/x.onnx at tcp://secret.example:8786 cannot be read",
        }
    )
    run = TUTORIAL.model_copy(
        update={
            "experiment": experiment,
            "model_card": card,
            "environment": TUTORIAL.environment.model_copy(update=places),
            "paths": (TUTORIAL.paths[0], failed, TUTORIAL.paths[2]),
        }
    )
    _, shared = link_of(run)
    said = json.dumps(to_plain(shared))
    assert "secret" not in said
    assert shared.experiment.model == "mine"
    assert shared.environment.allocator_in_force == "jemalloc (preloaded)"
    assert "x.onnx" in said


def test_a_link_carries_no_rounds() -> None:
    """Nobody can take it for a measured run: a run needs the samples of its rounds."""
    _, shared = link_of(TUTORIAL)
    assert all(path.samples_ms == () for path in shared.paths)
    with pytest.raises(Refusal):
        read_run(shared.model_dump_json())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "damaged"),
        ("1", "damaged"),
        ("1.", "damaged"),
        ("1.!!!", "damaged"),
        ("1.é", "damaged"),
        ("x.abc", "damaged"),
        ("2.abc", "not made by this version"),
        (f"1.{'A' * MOST_CHARACTERS}", "longer than the 8,000 characters"),
        (LINK_OF_VERSION_1[:-1], "damaged"),
        (LINK_OF_VERSION_1[:40] + "A" + LINK_OF_VERSION_1[41:], "damaged"),
        (packed_text(b"[" * 50_000), "damaged"),
        (packed_text(b"1" * 50_000), "damaged"),
        (packed_text(b"{}"), "damaged"),
        (packed_text(b"[]"), "damaged"),
        (packed_text(b"null"), "damaged"),
        (packed_text(b'{"a":' * 1000 + b"1" + b"}" * 1000), "damaged"),
    ],
)
def test_a_bad_link_is_refused_in_one_sentence(text: str, says: str) -> None:
    """What happened, what is shown, what to do."""
    with pytest.raises(Refusal, match=says):
        read_link(text)


def test_a_link_that_unpacks_to_gigabytes_is_refused_before_it_does() -> None:
    """A link of 8,000 characters may hold six megabytes of zeros; no more than the limit is unpacked."""
    bomb = packed_text(b" " * 5_000_000)
    assert len(bomb) < MOST_CHARACTERS
    assert MOST_BYTES < 5_000_000
    with pytest.raises(Refusal, match="damaged"):
        read_link(bomb)


def outcome(text: str) -> SharedRun | None:
    """The run of a link, or None if it is refused; anything else fails the test."""
    try:
        return read_link(text)
    except Refusal:
        return None


def test_3000_links_damaged_at_random_are_refused() -> None:
    """Characters changed, left out, doubled, cut off: a checksum finds each of them."""
    random, text = Random(12), LINK_OF_VERSION_1
    read = 0
    for _ in range(3_000):
        at, length = random.randrange(len(text)), random.randrange(1, 12)
        kind = random.randrange(4)
        new = ("", chr(random.randrange(32, 0x3000)), text[at : at + length] * 2, random.choice("-_A9."))[
            kind
        ]
        damaged = text[:at] + new + text[at + length :]
        read += damaged != text and outcome(damaged) is not None
    assert read == 0


HOSTILE: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        0.0,
        1e-300,
        1e12,
        1e308,
        10**18,
        "",
        "x",
        "](http://x)",
        "<b>",
        "a" * 301,
    ),
    *(
        "\u202e",
        "\x00",
        [],
        [1],
        [None],
        [[[]]],
        {},
        {"a": 1},
        ["x"] * 2000,
        "fp32",
        "ok",
        "faster",
        "slow",
        3,
        0.5,
        7e9,
    ),
)


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*way, key)
        yield from places(part, (*way, key))


def changed(values: dict[str, Any], ways: list[tuple[Any, ...]], random: Random) -> dict[str, Any]:
    """A copy of the values in which one to three places hold something else, or nothing."""
    copy: dict[str, Any] = json.loads(json.dumps(values))
    for _ in range(random.randrange(1, 4)):
        *way, last = random.choice(ways)
        holder: Any = copy
        try:
            for key in way:
                holder = holder[key]
            if random.random() < 0.2:
                del holder[last]
            else:
                old = holder[last]
                factor = random.choice((0, 0.5, 3, 1e6))
                near = old * factor if isinstance(old, int | float) and not isinstance(old, bool) else old
                holder[last] = random.choice((*HOSTILE, near, near, near))
        except (LookupError, TypeError):
            continue  # an earlier change removed the place
    return copy


def all_words(run: SharedRun) -> list[str]:
    """Everything that the page of a link says."""
    found = recommendation_of(run)
    return [
        *sentences(run),
        *(choice_sentences(run, found) if found else ()),
        asked_words(run.experiment),
        left_out_sentence(run),
        *environment_rows(run).values(),
        *(cell for path in run.paths for cell in path_row(run, path).values()),
    ]


def test_2500_hostile_links_with_a_right_checksum_are_refused_or_shown() -> None:
    """A forged link may say anything that a run could say; whatever is accepted can be said and drawn."""
    values = to_plain(shared_of(TUTORIAL, 0.02))
    ways, random = list(places(values)), Random(7)
    accepted = list[SharedRun]()
    for _ in range(2_500):
        run = outcome(packed_text(json.dumps(changed(values, ways, random)).encode()))
        if run is not None:
            accepted.append(run)
            assert all(word.isprintable() for word in all_words(run))
    assert 100 < len(accepted) < 2_400, "the test reaches both sides"
    for run in accepted[::80]:
        profiled = tuple(path.name for path in run.paths if path.profile)
        speedup_chart(run).to_dict()
        operator_chart(run, profiled, "total").to_dict()
        for path in run.paths:
            if run.baseline.profile and path.profile:
                waterfall_chart(run.baseline, path).to_dict()


def test_a_run_that_recommends_nothing_says_so_from_a_link_too() -> None:
    """A run of the baseline alone has no recommendation."""
    alone = concluded(
        TUTORIAL.model_copy(
            update={
                "paths": TUTORIAL.paths[:1],
                "experiment": TUTORIAL.experiment.model_copy(update={"paths": ("slow",)}),
                "order": (),
            }
        )
    )
    assert recommend(alone) is None
    _, shared = link_of(alone)
    assert recommendation_of(shared) is None
    assert sentences(shared) == sentences(alone)
