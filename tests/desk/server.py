"""A server to be killed: one measurement runs, one waits. Prints both tickets and the child's process id, then sleeps.

python -m tests.desk.server FOLDER
"""

import sys
import time
from pathlib import Path

from engine.desk.desk import Desk
from engine.desk.journal import Journal
from tests.desk.test_desk import fake_child, run_of

desk = Desk(fake_child, journal=Journal(Path(sys.argv[1])))
running, queued = desk.submit(run_of("linger")), desk.submit(run_of("refuse"))
while not desk.snapshot(running.id).step:
    time.sleep(0.01)
sys.stdout.write(f"{running.id} {queued.id} {desk.snapshot(running.id).step}\n")
sys.stdout.flush()
time.sleep(60)
