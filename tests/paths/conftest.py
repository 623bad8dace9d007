"""Tests of a path that this processor cannot run are skipped; that the path says so has a test of its own."""

import pytest

from tests.paths.here import runs_here


@pytest.fixture(autouse=True)
def _only_what_runs_here(request: pytest.FixtureRequest) -> None:
    callspec = getattr(request.node, "callspec", None)
    if callspec and not runs_here(str(callspec.params.get("name", ""))):
        pytest.skip("OpenVINO does not compute in bf16 on this processor")
