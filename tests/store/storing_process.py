"""A process that saves runs one after another, as fast as it can, and tells each id once it is kept.

Arguments: the database's URL, a name that the ids begin with, how many runs.
"""

import sys

from engine.store.store import Store
from tests.samples import sample_run

url, name, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = Store(url)
for number in range(runs):
    run_id = f"{name}-{number}"
    store.save(sample_run().model_copy(update={"id": run_id}))
    sys.stdout.write(run_id + "\n")
    sys.stdout.flush()
