"""The sentences that a diagnosis keeps: what is taken, what prevents it, and where prediction and proof disagree.

Like a verdict's reason in a run, they are made where their facts are known, so that the JSON explains itself.
"""

from collections.abc import Iterator

from engine.diagnosis import Check, Prediction, Proof, Taken, headline_of
from engine.doctor.curing import JudgedSubject
from engine.eligibility.dangers import WRONG
from engine.records import Agreement


def summary(verdict: Taken, judged: JudgedSubject, proof: Proof, agrees: bool) -> str:
    """The verdict and its explanation in a sentence or two.

    Args:
        agrees: the outputs were compared with the slow path's and agree on real tokens.
    """
    detail, reason = _detail(verdict, judged, proof), _reason(verdict, judged, proof)
    headline = headline_of(verdict, raises=bool(proof.error), agrees=agrees)
    return f"{headline}{f': {detail}' if detail else ''}.{f' {reason}' if reason else ''}"


def explanation(verdict: Taken, judged: JudgedSubject, proof: Proof) -> str:
    """The summary without the verdict, to be shown below it."""
    detail, reason = _detail(verdict, judged, proof), _reason(verdict, judged, proof)
    said = f"{detail[:1].upper()}{detail[1:]}." if detail else ""
    return " ".join(filter(None, (said, reason)))


def _detail(verdict: Taken, judged: JudgedSubject, proof: Proof) -> str:
    if proof.error:
        return proof.error.rstrip(".")
    if verdict == "taken but wrong":
        wrong = next((danger for danger in judged.dangers if danger.effect in WRONG), None)
        return wrong.has if wrong else "the outputs differ"
    return "" if verdict == "not taken" else f"{_layers(judged, proof)}{_sparsity(judged, proof)}"


def _reason(verdict: Taken, judged: JudgedSubject, proof: Proof) -> str:
    obstacle = _first_obstacle(judged)
    left = not proof.error and verdict in ("not taken", "partly taken")
    return f"What stands in the way first: {obstacle}." if left and obstacle else ""


def _layers(judged: JudgedSubject, proof: Proof) -> str:
    expected = _expected(judged)
    if expected:
        return f"{proof.counts.fused_layers} of {expected} layers are fused"
    return f"{proof.counts.native_attentions} of {len(judged.plan.attentions)} attentions are native"


def _sparsity(judged: JudgedSubject, proof: Proof) -> str:
    if not judged.plan.encoders:
        return ""
    if proof.counts.nested_conversions:
        return ", sparsity is on"
    paddings = [encoder.encoder.call.padding for encoder in judged.plan.encoders if encoder.encoder.call]
    hidden = any(
        padding and sum(padding.lengths) < len(padding.lengths) * padding.length for padding in paddings
    )
    if hidden:
        return ", sparsity is off"
    return ", and there is no padding to leave out" if all(paddings) else ", and no padding mask was given"


def _expected(judged: JudgedSubject) -> int:
    return sum(layer.call.calls if layer.call else 1 for layer in judged.plan.all_layers)


def _first_obstacle(judged: JudgedSubject) -> str:
    failing = [check for check in judged.checks if not check.ok]
    # A layer's condition explains more than the encoder's copy of it; a condition of __init__ more than use-nested.
    ranked = sorted(failing, key=lambda check: (check.part != "native MHA", check.key == "use-nested"))
    return ranked[0].has if ranked else ""


def findings(
    judged: JudgedSubject, prediction: Prediction, proof: Proof, agreement: Agreement | None
) -> tuple[str, ...]:
    """Where prediction and proof disagree; empty if they agree."""
    return tuple(_findings(judged, prediction, proof, agreement))


def _findings(
    judged: JudgedSubject, prediction: Prediction, proof: Proof, agreement: Agreement | None
) -> Iterator[str]:
    if prediction.error and not proof.error:
        yield f"An error was predicted ({prediction.error}), but the forward ran without one."
    if proof.error and not prediction.error:
        yield f"The forward raised an error that no condition explains: {proof.error}"
    if prediction.counts and not proof.error and prediction.counts != proof.counts:
        yield (
            f"The prediction was {_counted(prediction.counts.model_dump())}; "
            f"the profiler counted {_counted(proof.counts.model_dump())}."
        )
    for reason in proof.torch_reasons:
        if not any(explains(check, reason.reason) for check in judged.checks):
            yield f"{reason.where} gives a reason that no condition here covers: {reason.reason!r}."
    if agreement and not agreement.ok and not judged.misleads:
        error = agreement.max_abs_error
        seen = "are NaN or infinite" if error is None else f"differ from the slow path's by {error:.2g}"
        yield f"The outputs {seen}, and no danger listed here explains it."


def _counted(counts: dict[str, int]) -> str:
    return (
        f"{counts['fused_layers']} fused layers, {counts['nested_conversions']} nested conversions and "
        f"{counts['native_attentions']} native attentions"
    )


def explains(check: Check, reason: str) -> bool:
    """Whether this failing condition is the one that torch's reason is about."""
    return not check.ok and bool(check.torch_says) and reason.startswith(" ".join(check.torch_says.split()))
