"""Runs inside an HTML report: each is the JSON of a script element, which the lab reads again."""

from html.parser import HTMLParser

from engine.errors import Refusal
from engine.records import Run, read_run

RUN_ELEMENT = "fastpath-run-"
"""The ids of the script elements with a run begin with this."""
_BEGINNINGS = (b"<!doctype html", b"<html")


def without_texts(run: Run) -> Run:
    """The same run with empty texts, for a report that may be read by people who must not see them."""
    batch = run.experiment.batch
    empty = batch.model_copy(update={"texts": tuple("" for _ in batch.texts)})
    return run.model_copy(update={"experiment": run.experiment.model_copy(update={"batch": empty})})


def is_report(data: bytes) -> bool:
    """Whether a file is HTML, so that it may be a report; a run's own file is JSON."""
    return data.lstrip().lower().startswith(_BEGINNINGS)


def runs_of_report(html: str | bytes) -> tuple[Run, ...]:
    """The runs in an HTML report, in its order. Nothing in the file is executed.

    Raises:
        Refusal: it holds no run, or one that cannot be used.
    """
    reader = _Reader()
    reader.feed(html.decode("utf-8", errors="replace") if isinstance(html, bytes) else html)
    reader.close()
    if not reader.found:
        raise Refusal("This HTML file holds no run of Fastpath Lab: use a report that the lab has written.")
    return tuple(map(read_run, reader.found))


def run_of_report(html: str | bytes) -> Run:
    """The run in an HTML report of one run.

    Raises:
        Refusal: it holds no run, several, or one that cannot be used.
    """
    runs = runs_of_report(html)
    if len(runs) > 1:
        names = ", ".join(run.id for run in runs)
        raise Refusal(f"This report holds {len(runs)} runs ({names}): use a report of one run.")
    return runs[0]


class _Reader(HTMLParser):
    """Collects the text of the script elements that hold a run."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a run begins."""
        named = dict(attrs)
        self._inside = tag == "script" and (named.get("id") or "").startswith(RUN_ELEMENT)
        if self._inside:
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        """Note where it ends."""
        if tag == "script":
            self._inside = False

    def handle_data(self, data: str) -> None:
        """Keep a run's text."""
        if self._inside:
            self.found[-1] += data
