"""A child without torch that stops when its input ends, as the real one does; the model's name says what it does.

work: tells its pid, then works for ever.  die: ends without an answer.  <folder>: tells its pid, waits there for a
file `go`, then answers.  Anything else: answers with its pid.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from queue import SimpleQueue


def tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def answer(wish: str) -> None:
    if wish == "die":
        sys.stderr.write("out of luck\n")
        sys.exit(3)
    if wish == "work" or Path(wish).is_dir():
        tell(kind="step", name="measure", text=str(os.getpid()))
        while not (Path(wish) / "go").exists():
            time.sleep(0.01)
    tell(kind="refused", message=f"answered by {os.getpid()}")


def read_until_the_end(source: Iterable[str], lines: SimpleQueue[str]) -> None:
    for line in source:
        lines.put(line)
    os._exit(75)


requests: SimpleQueue[str] = SimpleQueue()
threading.Thread(target=read_until_the_end, args=(sys.stdin, requests), daemon=True).start()
for request in map(json.loads, iter(requests.get, None)):
    answer(request["experiment"]["model"] if request["do"] == "run" else request["model"])
