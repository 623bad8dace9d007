"""`report` and `script`: every format, files checked first, one sentence for bad input, and all of it in a process."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from engine.cli.commands import app as command_line
from engine.errors import Refusal
from engine.records import read_run
from tests.samples import a_run_with_costs, an_eight_path_run

ROOT = Path(__file__).parents[2]


def _engine(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=None, capture_output=True, check=False, timeout=300)


def _here(*arguments: object) -> Result:
    """The same command in this process."""
    return CliRunner().invoke(command_line, [*map(str, arguments)])


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
    done = _here("report", files[0], "-o", tmp_path / name)
    assert (done.exit_code, done.stdout) == (0, ""), done.exception
    assert (tmp_path / name).read_bytes().startswith(beginning)
    assert name in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == [name], "nothing else is left"


def test_text_goes_to_standard_output_and_several_runs_into_one_table(files: tuple[Path, Path]) -> None:
    done = _here("report", *files, "--format", "csv", "--table", "rounds", "-o", "-")
    assert done.exit_code == 0, done.exception
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["run"] for row in rows} == {read_run(file.read_bytes()).id for file in files}
    assert _here("report", files[0], "--format", "md", "--short").stdout.startswith("### ")


def test_a_report_is_read_again_by_commands_that_read_a_run(files: tuple[Path, Path], tmp_path: Path) -> None:
    report, again, both = tmp_path / "one.html", tmp_path / "again.md", tmp_path / "both.html"
    assert _engine("report", files[0], "-o", report).returncode == 0
    assert _here("report", report, "-o", again).exit_code == 0
    assert again.read_text() == _here("report", files[0], "--format", "md").stdout
    assert _here("conclude", report).stdout == _here("conclude", files[0]).stdout
    assert _here("script", report).stdout == _here("script", files[0]).stdout
    assert _here("report", report, files[1], "-o", both).exit_code == 0
    assert "holds 2 runs" in str(_here("script", both).exception)


def test_texts_stay_out_if_asked(files: tuple[Path, Path]) -> None:
    assert "Genoa" in _here("report", files[0], "--format", "html").stdout
    done = _here("report", files[0], "--format", "html", "--without-texts")
    assert (done.exit_code, "Genoa" in done.stdout) == (0, False)


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
def test_bad_input_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], words: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("<!DOCTYPE HTML><p>nothing")
    (tmp_path / "folder.html").mkdir()
    named = {"ONE": str(files[0]), "TWO": str(files[1])}
    places = [
        str(tmp_path / part) if "." in part and part not in named else named.get(part, part)
        for part in arguments
    ]
    done = _here("report", *places)
    assert isinstance(done.exception, Refusal)
    assert words in str(done.exception)
    assert done.stdout == ""
    assert not list(tmp_path.glob("out.*"))


def test_a_refusal_is_one_sentence_and_exit_code_2(files: tuple[Path, Path]) -> None:
    done = _engine("report", files[0], "--format", "pdf")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith("There is no format 'pdf'")
    assert done.stderr.count(b"\n") == 1


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
    chosen, asked = _here("script", files[1]), _here("script", files[1], "--path", "fast-nested")
    assert (chosen.exit_code, asked.exit_code) == (0, 0)
    assert "from engine import pack" in chosen.stdout
    assert "engine" not in asked.stdout
    assert "fastpath=True, sparsity=True" in asked.stdout
    for arguments, words in (
        ((files[1], "--path", "compile"), "no measured path 'compile': choose fast-nested"),
        ((files[1], "--path", "slow"), "slow is the baseline"),
        ((ROOT / "README.md",), "cannot be used"),
    ):
        done = _here("script", *arguments)
        assert (words in str(done.exception), done.stdout) == (True, "")
