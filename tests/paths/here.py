"""Which paths this processor can run, for tests that go through all of them."""

from engine.paths import EXECUTION_PATHS, openvino_path


def runs_here(name: str) -> bool:
    """Whether this processor has what a path needs: OpenVINO computes in bf16 only where there are units for it."""
    return name != "openvino@bf16" or openvino_path.computes_in("bf16")


def paths_here() -> tuple[str, ...]:
    """Names of the paths that this processor can run."""
    return tuple(filter(runs_here, EXECUTION_PATHS))
