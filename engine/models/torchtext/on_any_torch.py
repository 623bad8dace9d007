"""`from engine.measure import torchtext_on_any_torch`: with this line first, code written for torchtext runs as it is.

It is for scripts such as the tutorial's own listing; the lab itself calls `torchtext_bridge.install()`.
"""

from engine.models.torchtext.bridge import install

bridge = install()
"""Whether torchtext's compiled half is its own ("native") or ours ("bridged")."""
