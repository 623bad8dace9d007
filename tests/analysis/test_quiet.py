"""Quiet or busy: no note on a quiet machine, and the reason on a busy one."""

from engine.analysis.quiet import disturbances, slow_pulses
from engine.records import Conditions


def _rounds(count: int = 10, **fields: float) -> list[Conditions]:
    defaults = {"wall_s": 1.0, "others_share": 0.02, "steal_share": 0.0, "own_share": 0.9, "pulse_ms": 5.0}
    return [Conditions.model_validate({**defaults, **fields}) for _ in range(count)]


def test_a_quiet_machine_has_nothing_to_tell() -> None:
    assert disturbances(_rounds()) == ()
    assert disturbances(()) == ()


def test_the_neighbour_and_the_hypervisor_are_named_with_their_share() -> None:
    assert disturbances(_rounds(others_share=0.38)) == ("other processes used 38% of the CPU",)
    assert "hypervisor took 7%" in disturbances(_rounds(steal_share=0.07))[0]


def test_slow_pulses_count_only_when_there_are_many() -> None:
    few = _rounds(9) + _rounds(1, pulse_ms=9.0)
    many = _rounds(7) + _rounds(3, pulse_ms=9.0)
    assert slow_pulses(few) == (9,)
    assert disturbances(few) == ()
    assert "in 3 of 10 rounds" in disturbances(many)[0]


def test_a_platform_that_tells_no_shares_is_not_called_busy() -> None:
    assert disturbances([Conditions(wall_s=1.0, pulse_ms=5.0)] * 5) == ()
