"""engine.packing is a library: importing it changes nothing in the process of its user."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

OBSERVED = """
import os, sys, threading, warnings
import torch

def state():
    return {
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "torch threads": torch.get_num_threads(),
        "torch interop threads": torch.get_num_interop_threads(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "fastpath": torch.backends.mha.get_fastpath_enabled(),
        "threads": threading.active_count(),
        "signals": __import__("signal").getsignal(2),
        "random state": torch.get_rng_state().tolist(),
    }

acts = []
def audit(event, args):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.mkdir", "socket.connect", "os.putenv"):
        acts.append((event, args))
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if not str(args[0]).endswith(".pyc") and "__pycache__" not in str(args[0]):
            acts.append((event, args))

sys.addaudithook(audit)
before = state()
import engine.packing
from engine import pack
after = state()
assert pack is engine.packing.pack
assert acts == [], acts
for name, value in before.items():
    assert after[name] == value, (name, value, after[name])
for name in ("streamlit", "pandas", "torchtext", "engine.settings", "engine.models", "engine.paths", "engine.measure"):
    assert name not in sys.modules, name
print("unchanged")
"""


def test_importing_it_changes_nothing() -> None:
    found = subprocess.run(
        [sys.executable, "-c", OBSERVED], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert found.stdout == "unchanged\n", found.stderr
    assert found.stderr == ""
