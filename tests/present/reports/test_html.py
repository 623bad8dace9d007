"""An HTML report contains everything, gives its runs back, and nothing in a run becomes a part of the page."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from engine.errors import Refusal
from engine.present.reports.collection import read_runs
from engine.present.reports.embedded import is_report, run_of_report, runs_of_report, without_texts
from engine.present.reports.html import MOST_RUNS, html_report
from engine.present.words.runs import recommendation_sentences
from engine.records import Batch, OperatorTime, PathResult, Run
from tests.samples import a_run_with_costs, an_eight_path_run

MOST_BYTES = 3_000_000
NASTY = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--<script>{{ 7 * 7 }}\u2028"
    "\"'><svg onload=alert(3)>"
)


def hostile(run: Run) -> Run:
    """The run with a stranger's text wherever a run has text."""
    texts = tuple(f"{NASTY}{number}" for number in range(len(run.experiment.batch.texts)))
    batch = Batch(**{**run.experiment.batch.model_dump(), "name": NASTY[:80], "texts": texts})
    op = OperatorTime(name=NASTY, calls=1, self_ms=1.0, total_ms=1.0, share=0.1)
    paths = tuple(
        path.model_copy(
            update={
                "profile": path.profile and path.profile.model_copy(update={"ops": (op, *path.profile.ops)})
            }
        )
        for path in run.paths
    )
    lost = PathResult(name=NASTY, dtype="fp32", status="failed", reason=NASTY)
    return run.model_copy(
        update={
            "id": NASTY,
            "title": NASTY,
            "experiment": run.experiment.model_copy(update={"batch": batch, "model": NASTY}),
            "environment": run.environment.model_copy(
                update={
                    "machine": NASTY,
                    "cpu": NASTY,
                    "libraries": {NASTY: NASTY},
                    "allocator": {NASTY: NASTY},
                    "notes": (NASTY,),
                }
            ),
            "paths": (*paths, lost),
        }
    )


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the content of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data


@pytest.fixture(scope="module")
def eight() -> Run:
    return an_eight_path_run()


@pytest.fixture(scope="module")
def report(eight: Run) -> str:
    return html_report((eight,))


def test_a_report_of_eight_paths_is_at_most_three_megabytes(report: str) -> None:
    assert len(report.encode()) <= MOST_BYTES


def test_a_report_gives_its_run_back_bit_for_bit(report: str, eight: Run) -> None:
    assert is_report(report.encode())
    assert run_of_report(report) == eight
    assert run_of_report(report.encode()) == eight


def test_a_report_says_verdict_choice_costs_proof_and_every_operator() -> None:
    run = a_run_with_costs()
    text = " ".join(Elements(html_report((run,))).text.split())
    assert all(sentence in text for sentence in recommendation_sentences(run))
    assert "Same answer: outputs differ by at most 1e-06" in text
    assert all(f"{path.median_ms:.1f} ms" in text for path in run.paths)
    assert "42 MB" in text
    assert "aten::addmm" in text
    assert "Rule, version 1" in text
    assert "they are the same" in text
    assert run.environment.torch in text


def test_changed_conclusions_are_noticed() -> None:
    run = a_run_with_costs()
    flattered = run.model_copy(
        update={"paths": (run.paths[0], run.paths[1].model_copy(update={"speedup": 9.0}), *run.paths[2:])}
    )
    assert "they are different" in Elements(html_report((flattered,))).text


def test_nothing_in_a_run_becomes_an_element_or_a_script(eight: Run) -> None:
    clean, dirty = Elements(html_report((eight,))), Elements(html_report((hostile(eight),)))
    assert {tag for tag, _ in dirty.tags} == {tag for tag, _ in clean.tags}
    assert len(dirty.scripts) == len(clean.scripts)
    assert not [name for _, attributes in dirty.tags for name in attributes if name.startswith("on")]
    assert "alert(1)" in dirty.text, "it is shown as text"
    assert "{{ 7 * 7 }}" in dirty.text
    assert run_of_report(html_report((hostile(eight),))) == hostile(eight)


def test_the_policy_lets_only_the_reports_own_scripts_run(report: str) -> None:
    found = Elements(report)
    policy = next(a["content"] for tag, a in found.tags if tag == "meta" and "http-equiv" in a) or ""
    code = [
        script
        for script, (_, attributes) in zip(
            found.scripts, (t for t in found.tags if t[0] == "script"), strict=True
        )
        if attributes.get("type") != "application/json"
    ]
    assert len(code) == 2
    for script in code:
        assert b64encode(sha256(script.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


def test_a_report_names_no_address_to_load(report: str) -> None:
    places = [
        value
        for _, attributes in Elements(report).tags
        for name, value in attributes.items()
        if name in ("src", "href")
    ]
    assert all(re.match(r"(#|data:,$)", place or "") for place in places), places


def test_several_runs_have_a_table_of_contents_and_what_differs() -> None:
    first = an_eight_path_run()
    experiment = first.experiment.model_copy(update={"allocator": "kept", "seed": 0})
    environment = first.environment.model_copy(update={"threads": 7})
    second = first.model_copy(
        update={"id": "second", "title": "The second", "experiment": experiment, "environment": environment}
    )
    html = html_report((first, second))
    found = Elements(html)
    assert [a["href"] for tag, a in found.tags if tag == "a"] == ["#run-1", "#run-2"]
    assert [a["id"] for tag, a in found.tags if tag == "main"] == ["run-1", "run-2"]
    contents = html.partition("What differs")[2].partition("Speedups side by side")[0]
    rows = re.findall(r'<th scope="row">(.*?)</th>', contents)
    assert rows == ["Freed memory", "Run", "Threads"]
    assert runs_of_report(html) == (first, second)
    with pytest.raises(Refusal, match="holds 2 runs"):
        run_of_report(html)


def test_a_run_twice_and_too_many_runs_are_refused(eight: Run) -> None:
    with pytest.raises(Refusal, match="named twice"):
        html_report((eight, eight))
    with pytest.raises(Refusal, match="at most"):
        html_report((eight,) * (MOST_RUNS + 1))


@pytest.mark.parametrize(
    "html",
    [
        "<!doctype html><p>nothing</p>",
        "<!doctype html><script>var run = {}</script>",
        '<!doctype html><script type="application/json" id="charts">{}</script>',
    ],
)
def test_html_without_a_run_is_refused(html: str) -> None:
    with pytest.raises(Refusal, match="holds no run"):
        runs_of_report(html)


def test_a_damaged_run_in_a_report_is_refused(report: str) -> None:
    with pytest.raises(Refusal, match="cannot be used"):
        runs_of_report(report.replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(Refusal, match="cannot be used"):
        runs_of_report(report[: report.index('id="fastpath-run-1"') + 2000])


def test_texts_can_be_left_out(eight: Run) -> None:
    html = html_report((without_texts(eight),))
    assert all(text not in html for text in eight.experiment.batch.texts)
    assert "Genoa" not in html
    assert run_of_report(html).experiment.batch.lengths == eight.experiment.batch.lengths


def test_the_import_of_the_history_takes_a_report(report: str, eight: Run) -> None:
    assert [kept.run for kept in read_runs(report.encode(), "report.html").runs] == [eight]
    assert "holds no run" in read_runs(b"<!doctype html><p>", "page.html").refused[0]
