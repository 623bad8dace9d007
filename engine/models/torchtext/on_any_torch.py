"""`import engine.models.torchtext.on_any_torch` as the first line lets code written for torchtext run unchanged.

It is for scripts such as the tutorial's listing; the engine itself calls `bridge.install()`.
"""

from engine.models.torchtext.bridge import install

bridge = install()
"""Whether torchtext's compiled half is its own ("native") or replaced by ours ("bridged")."""
