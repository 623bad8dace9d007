"""The exported scripts run unchanged, without the lab's folder where torch alone is enough, and compare two paths."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.allocator import KEPT
from engine.catalog.paths import PATHS
from engine.errors import Refusal
from engine.paths.switches import SWITCHED
from engine.present.reports.script import _SWITCHES, needs_torch_alone, path_to_export, script_of
from engine.records import EncoderShape, Run
from tests.samples import a_run_with_costs, sample_path, sample_run

ROOT = Path(__file__).parents[3]
GLIBC = "Linux-6.1-x86_64-with-glibc2.41"
RATIO = r"\d+\.\d{3}x as fast \(half of 20 rounds: \d+\.\d{3}x to \d+\.\d{3}x\)\n"
SMALL = EncoderShape(
    vocab_size=50,
    embedding_dim=32,
    ffn_dimension=64,
    num_attention_heads=4,
    num_encoder_layers=2,
    padding_idx=1,
    max_seq_len=40,
    layer_norm_eps=1e-5,
)
ALONE = ("slow-train", "slow-grad", "fast-mha", "fast-nested", "tutorial-mha", "bucketed")


def _run_with(*names: str, shape: EncoderShape = SMALL) -> Run:
    """A run of a small model with these paths."""
    run = sample_run()
    paths = (run.paths[0], *(sample_path(name, (1.0,) * 8, 0) for name in names))
    assert run.model_card is not None
    card = run.model_card.model_copy(update={"shape": shape})
    experiment = run.experiment.model_copy(update={"paths": tuple(path.name for path in paths)})
    return run.model_copy(update={"paths": paths, "model_card": card, "experiment": experiment})


def _printed_by(script: str, folder: Path, lab: bool) -> str:
    """What the script prints, run as a file in an empty folder, with or without the lab."""
    file = folder / "comparison.py"
    file.write_text(script)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *(() if lab else ("-P",)), file.name],
        cwd=folder,
        env={**variables, "OMP_NUM_THREADS": "1", **({"PYTHONPATH": str(ROOT)} if lab else {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [*ALONE, "fast-nested@bf16", "bucketed@bf16"])
def test_a_path_of_torch_is_compared_without_the_lab(name: str, tmp_path: Path) -> None:
    printed = _printed_by(script_of(_run_with(name), name), tmp_path, lab=False)
    assert re.search(rf"^{name} against slow: {RATIO}", printed, re.M)
    assert re.search(rf"^slow against itself: {RATIO}", printed, re.M)
    if PATHS[name].kind == "fastpath":
        assert "the fastpath was taken in 2 of 2 layers" in printed
    assert printed.endswith("the run measured 1.00x as fast\n")


@pytest.mark.parametrize("name", ["packed", "packed@bf16", "hf-sdpa"])
def test_a_path_of_the_lab_is_compared_with_the_lab_and_says_that_it_needs_it(
    name: str, tmp_path: Path
) -> None:
    script = script_of(_run_with(name), name)
    assert re.search(rf"^{name} against slow: {RATIO}", _printed_by(script, tmp_path, lab=True), re.M)
    assert "pip install ." in script
    assert ("from engine import pack" in script) is name.startswith("packed")


def test_without_the_lab_a_script_that_needs_it_ends_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "comparison.py"
    file.write_text(script_of(_run_with("packed"), "packed"))
    # Neither this folder nor what is installed: a folder with torch alone.
    hidden = f"import sys; sys.modules['engine'] = None; exec(open({str(file)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-c", hidden], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert done.stderr.startswith("This path needs Fastpath Lab")


@pytest.mark.parametrize("name", [name for name in PATHS if name != "slow"])
def test_every_path_makes_a_script_that_python_can_parse(name: str) -> None:
    script = script_of(_run_with(name), name)
    imported = {node.module or "" for node in ast.walk(ast.parse(script)) if isinstance(node, ast.ImportFrom)}
    assert any(module.startswith("engine") for module in imported) is not needs_torch_alone(name)


def test_the_switches_are_those_of_the_paths() -> None:
    """Charts and scripts cannot import the paths, so the script has a table of its own."""
    from engine.paths.switches import _ROWS

    for name in SWITCHED:
        switches = _ROWS[name].switches
        on = {flag for flag in ("train", "gradients", "fastpath", "sparsity") if getattr(switches, flag)}
        assert set(_SWITCHES[name]) == on


def test_the_script_has_the_runs_lengths_threads_and_blocks() -> None:
    run = _run_with("fast-nested")
    blocks = (run.paths[0], run.paths[1].model_copy(update={"calls_per_sample": 7}))
    script = script_of(run.model_copy(update={"paths": blocks}), "fast-nested")
    assert "LENGTHS = (4, 6)" in script
    assert "CALLS = {'slow': 1, 'fast-nested': 7}" in script
    assert f"'cpu', {run.environment.threads}, 20" in script


def test_a_run_that_kept_freed_memory_starts_its_script_with_the_same_variables(tmp_path: Path) -> None:
    run = _run_with("fast-nested")
    environment = run.environment.model_copy(update={"allocator_in_force": KEPT, "platform": GLIBC})
    script = script_of(run.model_copy(update={"environment": environment}), "fast-nested")
    assert script.index("MALLOC_MMAP_THRESHOLD_") < script.index("os.execve") < script.index("import torch")
    assert "MALLOC_" not in script_of(run, "fast-nested")
    told = script.replace('print(f"torch', "print(os.environ['MALLOC_TRIM_THRESHOLD_'])\nprint(f\"torch")
    assert told != script
    if sys.platform == "linux":
        assert _printed_by(told, tmp_path, lab=False).startswith("1073741824\n")


def test_variables_of_a_strangers_run_are_not_set() -> None:
    run = _run_with("fast-nested")
    stranger = {"LD_PRELOAD": "/tmp/theirs/libjemalloc.so", "MALLOC_ARENA_MAX": "1"}  # noqa: S108
    environment = run.environment.model_copy(
        update={"allocator": stranger, "allocator_in_force": "jemalloc (preloaded)"}
    )
    script = script_of(run.model_copy(update={"environment": environment}), "fast-nested")
    assert "LD_PRELOAD" not in script
    assert "# Memory in the run: jemalloc (preloaded)." in script


def test_texts_of_a_run_from_a_file_never_become_code() -> None:
    """A run may come from a file: nothing in it may become code."""
    nasty = '"""\n)\nraise SystemExit(9)\n\x0c\u2028\'\\{model!r} {{ 7 * 7 }}'
    run = _run_with("fast-nested", nasty)
    batch = run.experiment.batch.model_copy(update={"texts": (nasty, nasty), "name": nasty[:80]})
    run = run.model_copy(
        update={
            "title": nasty,
            "id": nasty,
            "experiment": run.experiment.model_copy(update={"batch": batch, "device": nasty, "model": nasty}),
            "environment": run.environment.model_copy(
                update={"device_name": nasty, "torch": nasty, "allocator_in_force": nasty}
            ),
        }
    )
    for name in ("fast-nested", nasty):
        tree = ast.parse(script_of(run, name))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
        assert "49" not in script_of(run, name)


def test_the_recommended_path_is_exported_or_the_fastest_if_the_baseline_is_recommended() -> None:
    assert path_to_export(a_run_with_costs()) == "packed"
    run = _run_with("fast-mha", "fast-nested")
    slower = (
        run.paths[0],
        *(
            path.model_copy(update={"speedup": speedup, "verdict": "slower"})
            for path, speedup in zip(run.paths[1:], (0.7, 0.9), strict=True)
        ),
    )
    assert path_to_export(run.model_copy(update={"paths": slower})) == "fast-nested"
    assert path_to_export(run.model_copy(update={"paths": run.paths[:1]})) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("packed", "no measured path 'packed': choose fast-nested"),
        ("slow", "slow is the baseline: choose fast-nested"),
    ],
)
def test_a_path_that_cannot_be_compared_is_refused(name: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        script_of(_run_with("fast-nested"), name)


def test_a_run_without_shape_or_lengths_is_refused() -> None:
    run = _run_with("fast-nested")
    with pytest.raises(Refusal, match="measure again"):
        script_of(run.model_copy(update={"model_card": None}), "fast-nested")
