"""`report` and `script` in real processes: every format, files checked first, one sentence for bad input."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from engine.records import read_run
from tests.samples import a_run_with_costs, an_eight_path_run

ROOT = Path(__file__).parents[2]


def _engine(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=None, capture_output=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs in their JSON files."""
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for name, run in (("one", an_eight_path_run()), ("two", a_run_with_costs())):
        file = folder / f"{name}.json"
        file.write_text(run.model_dump_json())
        made.append(file)
    return made[0], made[1]


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("out.html", b"<!doctype html>"),
        ("out.md", b"# all-MiniLM-L6-v2"),
        ("out.csv", b"run,path,operator"),
        ("out.parquet", b"PAR1"),
        ("out.svg", b"<svg"),
        ("out.png", b"\x89PNG"),
        ("out.py", b"# "),
    ],
)
def test_the_name_of_the_file_chooses_the_format(
    name: str, beginning: bytes, files: tuple[Path, Path], tmp_path: Path
) -> None:
    done = _engine("report", files[0], "-o", tmp_path / name)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert (tmp_path / name).read_bytes().startswith(beginning)
    assert name in done.stderr.decode()
    assert [file.name for file in tmp_path.iterdir()] == [name], "nothing else is left"


def test_text_goes_to_standard_output_and_several_runs_into_one_table(files: tuple[Path, Path]) -> None:
    done = _engine("report", *files, "--format", "csv", "--table", "rounds", "-o", "-")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.decode().splitlines()))
    assert {row["run"] for row in rows} == {read_run(file.read_bytes()).id for file in files}
    assert _engine("report", files[0], "--format", "md", "--short").stdout.startswith(b"### ")


def test_a_report_is_read_again_by_commands_that_read_a_run(files: tuple[Path, Path], tmp_path: Path) -> None:
    report, again, both = tmp_path / "one.html", tmp_path / "again.md", tmp_path / "both.html"
    assert _engine("report", files[0], "-o", report).returncode == 0
    assert _engine("report", report, "-o", again).returncode == 0
    assert again.read_bytes() == _engine("report", files[0], "--format", "md").stdout
    assert _engine("conclude", report).stdout == _engine("conclude", files[0]).stdout
    assert _engine("script", report).stdout == _engine("script", files[0]).stdout
    assert _engine("report", report, files[1], "-o", both).returncode == 0
    refused = _engine("script", both)
    assert (refused.returncode, b"holds 2 runs" in refused.stderr) == (2, True)


def test_texts_stay_out_if_asked(files: tuple[Path, Path]) -> None:
    assert b"Genoa" in _engine("report", files[0], "--format", "html").stdout
    done = _engine("report", files[0], "--format", "html", "--without-texts")
    assert (done.returncode, b"Genoa" in done.stdout) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.json", "-o", "out.html"), "cannot be read"),
        (("ONE",), "Choose a format"),
        (("ONE", "--format", "pdf"), "There is no format 'pdf'"),
        (("ONE", "-o", "out.docx"), "Choose a format"),
        (("ONE", "--format", "png"), "name a file with -o"),
        (("ONE", "--format", "parquet", "-o", "-"), "name a file with -o"),
        (("ONE", "-o", "no-such-folder/out.html"), "so nothing was written"),
        (("ONE", "-o", "folder.html"), "so nothing was written"),
        (("ONE", "-o", "out.svg", "--chart", "pie"), "has no chart 'pie'; it has speedups, operators"),
        (("ONE", "-o", "out.svg", "--chart", "waterfall", "--path", "pie"), "no profile of a path 'pie'"),
        (("ONE", "TWO", "-o", "out.png"), "one run"),
        (("ONE", "TWO", "-o", "out.svg", "--chart", "allocators"), "not one experiment"),
        (("ONE", "-o", "out.csv", "--table", "pie"), "There is no table 'pie'"),
        (("ONE", "-o", "out.py", "--path", "compile"), "no measured path 'compile': choose"),
        (("ONE", "TWO", "-o", "out.py"), "one run"),
        (("ONE", "ONE", "-o", "out.html"), "named twice"),
        (("page.html", "-o", "out.md"), "holds no run"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], words: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("<!DOCTYPE HTML><p>nothing")
    (tmp_path / "folder.html").mkdir()
    named = {"ONE": str(files[0]), "TWO": str(files[1])}
    places = [
        str(tmp_path / part) if "." in part and part not in named else named.get(part, part)
        for part in arguments
    ]
    done = _engine("report", *places)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert not list(tmp_path.glob("out.*"))


def test_a_format_without_its_package_says_what_to_install(files: tuple[Path, Path]) -> None:
    code = (
        "import sys; sys.modules['altair'] = None; sys.argv = ['fastpath', *sys.argv[1:]]\n"
        "from engine.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", str(files[0]), "--format", "html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, "altair" in done.stderr, "[app]" in done.stderr) == (2, True, True)


def test_script_repeats_the_comparison_of_the_recommended_path_or_of_the_one_asked_for(
    files: tuple[Path, Path],
) -> None:
    chosen, asked = _engine("script", files[1]), _engine("script", files[1], "--path", "fast-nested")
    assert (chosen.returncode, asked.returncode) == (0, 0)
    assert b"from engine import pack" in chosen.stdout
    assert b"engine" not in asked.stdout
    assert b"fastpath=True, sparsity=True" in asked.stdout
    for arguments, words in (
        ((files[1], "--path", "compile"), b"no measured path 'compile': choose fast-nested"),
        ((files[1], "--path", "slow"), b"slow is the baseline"),
        ((ROOT / "README.md",), b"cannot be used"),
    ):
        done = _engine("script", *arguments)
        assert (done.returncode, words in done.stderr, done.stdout) == (2, True, b"")
