"""A child that speaks the protocol without torch; the model's name says what it does.

hang: tells its pid and that of its own child, then waits for ever.  die: ends without an answer.
talk: sends a line that is not an event.  torn: is killed in the middle of a line.  refuse: refuses.
silent: waits for ever and tells nothing.  busy: tells for ever that it waits for another program.
linger: tells its pid, and ends with its input.  leave: refuses, and is gone a moment later.
faint: refuses, and ends at the next request.  finish: finishes a run.
lack <pid>: lacks memory as long as that process lives.
A sweep tells two cells without a result, of which the first is the first that is not done; then it does the same.
<folder>: waits there for a file `go`, then answers.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

RUN = Path(__file__).parents[1] / "data" / "run_minilm_tutorial_big.json"


def tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def answer(request: dict[str, object], lack: str = "") -> None:
    if request["do"] == "tokenize":
        tell(kind="tokenized", batch=request["batch"])
    else:
        tell(kind="refused", message=f"answered by {os.getpid()}", lack=lack)


def hang() -> None:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    tell(kind="step", name="measure", text=f"{os.getpid()} {grandchild.pid}")
    tell(kind="round", done=3, at_most=60, speedups={"fast-nested": [1.5, 2.5]})
    time.sleep(60)


def linger() -> None:
    tell(kind="step", name="measure", text=str(os.getpid()))
    sys.stdin.read()


def be_busy() -> None:
    while True:
        tell(kind="step", name="wait", text="waiting for another program")
        time.sleep(0.05)


def tear() -> None:
    sys.stdout.write('{"kind":"finished","run":{"tit')
    sys.stdout.flush()
    os.kill(os.getpid(), 9)


def die() -> None:
    sys.stderr.write("out of luck\n")
    sys.exit(3)


WISHES = {
    "hang": hang,
    "die": die,
    "torn": tear,
    "busy": be_busy,
    "linger": linger,
    "silent": lambda: time.sleep(60),
}


def tell_cells(done: list[int]) -> None:
    for number in range(len(done), len(done) + 2):
        tell(kind="cell-started", title=f"cell {number}", done=number, of=12, left_s=30.0)
        tell(kind="cell-done", cell={"number": number, "reason": "no result"}, done=number + 1, of=12)


for line in sys.stdin:
    request = json.loads(line)
    wish = {**request, **request.get("experiment", {}), **request.get("plan", {})}["model"]
    if request["do"] == "sweep":
        tell_cells(request["done"])
    if wish in WISHES:
        WISHES[wish]()
    elif wish == "talk":
        sys.stdout.write("hello, I am no event\n")
    elif wish == "finish":
        tell(kind="finished", run=json.loads(RUN.read_bytes()))
        continue
    elif wish.startswith("lack "):
        answer(request, "memory" if Path("/proc", wish.removeprefix("lack ")).exists() else "")
        continue
    elif Path(wish).is_dir():
        tell(kind="step", name="load", text="waiting")
        while not (Path(wish) / "go").exists():
            time.sleep(0.01)
    answer(request)
    if wish == "faint":
        sys.stdin.readline()
    if wish in {"leave", "faint"}:
        sys.exit(0)
