"""The sentences of a diagnosis: what is taken, what stands in the way, and where prediction and proof disagree."""

from collections.abc import Iterator

from engine.diagnosis import Check, Prediction, Proof, Taken
from engine.doctor.curing import JudgedSubject
from engine.eligibility.dangers import WRONG
from engine.records import Agreement


def summary(verdict: Taken, judged: JudgedSubject, proof: Proof, agrees: bool) -> str:
    """One sentence for people: the verdict, and the explanation behind it.

    Args:
        agrees: the outputs were compared with the slow path's, and are the same on real tokens.
    """
    detail, reason = _detail(verdict, judged, proof), _reason(verdict, judged, proof)
    return f"{_verdict_words(verdict, proof, agrees)}{f': {detail}' if detail else ''}.{f' {reason}' if reason else ''}"


def explanation(verdict: Taken, judged: JudgedSubject, proof: Proof) -> str:
    """The summary without the verdict, for a place below it."""
    detail, reason = _detail(verdict, judged, proof), _reason(verdict, judged, proof)
    said = f"{detail[:1].upper()}{detail[1:]}." if detail else ""
    return " ".join(filter(None, (said, reason)))


def _verdict_words(verdict: Taken, proof: Proof, agrees: bool) -> str:
    if proof.error:
        return "The forward ends with an error"
    # Outputs that agree all the same, as with an adapter of zeros, are right by chance.
    wrong = "cannot be trusted" if agrees else "is wrong"
    return {
        "taken": "The fastpath is taken",
        "partly taken": "The fastpath is partly taken",
        "not taken": "The fastpath is not taken",
        "taken but wrong": f"The fastpath is taken and its answer {wrong}",
    }[verdict]


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
    # Conditions of the layers say more than the encoder's copy of them, and __init__'s more than its own result.
    ranked = sorted(failing, key=lambda check: (check.part != "native MHA", check.key == "use-nested"))
    return ranked[0].has if ranked else ""


def findings(
    judged: JudgedSubject, prediction: Prediction, proof: Proof, agreement: Agreement | None
) -> tuple[str, ...]:
    """Where the conditions and the proof disagree; empty where they say the same."""
    return tuple(_findings(judged, prediction, proof, agreement))


def _findings(
    judged: JudgedSubject, prediction: Prediction, proof: Proof, agreement: Agreement | None
) -> Iterator[str]:
    if prediction.error and not proof.error:
        yield f"The conditions say that the forward raises ({prediction.error}), and it came to its end."
    if proof.error and not prediction.error:
        yield f"The forward raised, and no condition says why: {proof.error}"
    if prediction.counts and not proof.error and prediction.counts != proof.counts:
        yield (
            f"Predicted were {_counted(prediction.counts.model_dump())}; "
            f"the profiler counted {_counted(proof.counts.model_dump())}."
        )
    for reason in proof.torch_reasons:
        if not any(explains(check, reason.reason) for check in judged.checks):
            yield f"{reason.where} has a reason of its own that no condition here names: {reason.reason!r}."
    if agreement and not agreement.ok and not judged.misleads:
        error = "not numbers" if agreement.max_abs_error is None else f"off by {agreement.max_abs_error:.2g}"
        yield f"The outputs are {error} against the slow path, and no danger named here says why."


def _counted(counts: dict[str, int]) -> str:
    return (
        f"{counts['fused_layers']} fused layers, {counts['nested_conversions']} nested conversions and "
        f"{counts['native_attentions']} native attentions"
    )


def explains(check: Check, reason: str) -> bool:
    """Whether a failing condition is the one that a reason of torch's names."""
    return not check.ok and bool(check.torch_says) and reason.startswith(" ".join(check.torch_says.split()))
