"""The environment: facts of this machine, and notes that say why a result may be noisy."""

from pathlib import Path

import pytest
import torch

from engine.measure.environment import Before, cpu_quota, listen, read_environment


def test_the_facts_are_those_of_this_process() -> None:
    environment = read_environment("cpu", Before(0.0, 0.0))
    assert environment.torch == torch.__version__
    assert environment.threads == torch.get_num_threads()
    assert environment.cores >= 1
    assert environment.memory_mb > 100
    assert environment.cpu


def test_other_work_is_noted_as_the_reason_for_not_being_quiet() -> None:
    assert "40% of the cores" in read_environment("cpu", Before(3.0, 0.4)).notes[0]
    assert not read_environment("cpu", Before(3.0, 0.4)).quiet


def test_listening_gives_a_share() -> None:
    assert 0 <= listen().others_share <= 1


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("50000 100000\n", 0.5), ("what", None), (None, None)]
)
def test_the_control_groups_quota(tmp_path: Path, text: str | None, cores: float | None) -> None:
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path / "cpu.max") == cores
