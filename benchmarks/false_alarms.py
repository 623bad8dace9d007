"""Models without problems on the five presets: the doctor must find none, and prove both parts of the fastpath.

    python -m benchmarks.false_alarms

Prints a line for each model and preset. Exit code 1 if there is a false alarm.
"""

import sys
import time
from collections.abc import Iterator

from benchmarks.harness import keep
from engine.catalog.batches import PRESETS
from engine.catalog.models import find_model
from engine.diagnosis import AS_IT_IS, Diagnosis
from engine.doctor import examine_request
from engine.events import DoctorRequest
from engine.measure.instruments import Instruments
from engine.models.loading import LoadedModel, load_model
from engine.settings import load_settings

MODELS = ("minilm", "xlmr-base-random", "xlmr-large-random")


def examined(name: str) -> Iterator[Diagnosis]:
    """Examine one model on every preset, without timing."""
    settings = load_settings()
    loaded: LoadedModel = load_model(
        find_model(name), "fp32", "cpu", settings, lambda _event: None, time.perf_counter
    )
    for batch in PRESETS.values():
        request = DoctorRequest(model=name, batch=batch, budget_s=0)
        yield examine_request(request, loaded, settings, Instruments(lambda _event: None, time.perf_counter))


def row(diagnosis: Diagnosis) -> dict[str, object]:
    """The verdict, what the doctor reports, and the operator counts."""
    as_it_is = diagnosis.state(AS_IT_IS)
    return {
        "title": diagnosis.title,
        "verdict": diagnosis.verdict,
        "failing": [check.key for check in diagnosis.failing],
        "dangers": [danger.key for danger in diagnosis.dangers],
        "findings": list(diagnosis.findings),
        "layers": diagnosis.layers,
        **as_it_is.proof.counts.model_dump(),
        "max_abs_error": as_it_is.agreement.max_abs_error if as_it_is.agreement else None,
    }


def is_alarm(seen: dict[str, object]) -> bool:
    """Whether the doctor reports a problem, or a part of the fastpath is missing."""
    named = seen["failing"] or seen["dangers"] or seen["findings"]
    whole = seen["fused_layers"] == seen["layers"] and seen["nested_conversions"] == 1
    return bool(named) or seen["verdict"] != "taken" or not whole


def main() -> int:
    """Examine all models; returns 1 if there is a false alarm."""
    seen = list[dict[str, object]]()
    for name in MODELS:
        for diagnosis in examined(name):
            seen.append(row(diagnosis))
            print(seen[-1], flush=True)
    alarms = sum(map(is_alarm, seen))
    print(f"{alarms} false alarms in {len(seen)} examinations")
    keep("false_alarms", {"examinations": seen, "false_alarms": alarms})
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
