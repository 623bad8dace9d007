"""A child that speaks the protocol without torch; what it does is asked for by the model's name.

hang: tells its pid and that of its own child, then waits for ever.  die: ends without an answer.
talk: sends a line that is no event.  refuse: refuses.  <folder>: waits there for a file `go`, then answers.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def answer(request: dict[str, object]) -> None:
    if request["do"] == "tokenize":
        tell(kind="tokenized", batch=request["batch"])
    else:
        tell(kind="refused", message=f"answered by {os.getpid()}")


for line in sys.stdin:
    request = json.loads(line)
    wish = request["experiment"]["model"] if request["do"] == "run" else request["model"]
    if wish == "hang":
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        tell(kind="step", name="measure", text=f"{os.getpid()} {grandchild.pid}")
        tell(kind="round", done=3, at_most=60, speedups={"fast-nested": [1.5, 2.5]})
        time.sleep(60)
    elif wish == "die":
        sys.stderr.write("out of luck\n")
        sys.exit(3)
    elif wish == "talk":
        sys.stdout.write("hello, I am no event\n")
    elif Path(wish).is_dir():
        tell(kind="step", name="load", text="waiting")
        while not (Path(wish) / "go").exists():
            time.sleep(0.01)
    answer(request)
