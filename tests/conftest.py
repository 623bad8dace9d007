"""What several folders of tests share: the real MiniLM, loaded once a process."""

import os
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

# Two test processes, and the children that they start, must not fight over the cores with a pool of threads each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nor may tests touch what the user's own server keeps, or wait until it has measured.
if "FASTPATH_DATA_FOLDER" not in os.environ:
    _DATA = TemporaryDirectory(prefix="fastpath-tests-")
    os.environ["FASTPATH_DATA_FOLDER"] = _DATA.name
    os.environ["FASTPATH_LOCK_FILE"] = f"{_DATA.name}/measuring.lock"

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from engine.measure.models import LoadedModel

# A shared machine stalls now and then; how long an example takes is no property of the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def minilm() -> "LoadedModel":
    """all-MiniLM-L6-v2 with its real weights on the CPU in fp32."""
    from engine.catalog import CATALOG
    from engine.measure.models import load_model
    from engine.settings import Settings

    return load_model(CATALOG["minilm"], "fp32", "cpu", Settings(), lambda _event: None, time.perf_counter)
