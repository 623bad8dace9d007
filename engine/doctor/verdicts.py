"""Conclusions from the proved states: whether the fastpath is taken, and which state leaves padding out."""

from collections.abc import Iterator, Sequence

from engine.diagnosis import (
    Proof,
    Taken,
)
from engine.doctor.curing import JudgedSubject
from engine.doctor.values import ProvedState
from engine.eligibility.facts import PaddingFacts


def verdict_of(seen: ProvedState) -> Taken:
    """Whether the fastpath is taken, from the operator counts and the comparison of answers."""
    proof = seen.forward.proof
    wanted = seen.judged.plan
    if proof.error or not _native(proof):
        return "not taken"
    if not seen.offered:
        return "taken but wrong"
    layers = sum(layer.call.calls if layer.call else 1 for layer in wanted.all_layers)
    fused = proof.counts.fused_layers >= layers
    alone = proof.counts.native_attentions >= len(wanted.attentions) if not layers else True
    return "taken" if fused and alone and _sparsity_satisfied(seen) else "partly taken"


def agrees(seen: ProvedState) -> bool:
    """Whether the outputs were compared with the slow path's and agree."""
    return seen.agreement is not None and seen.agreement.ok


def _native(proof: Proof) -> int:
    return proof.counts.fused_layers + proof.counts.nested_conversions + proof.counts.native_attentions


def _sparsity_satisfied(seen: ProvedState) -> bool:
    """Whether every encoder whose batch has padding leaves it out."""
    with_padding = sum(1 for padding in paddings(seen.judged) if sum(padding.lengths) < token_count(padding))
    return seen.forward.proof.counts.nested_conversions >= with_padding


def token_count(padding: PaddingFacts) -> int:
    """All tokens of a batch, padding included."""
    return len(padding.lengths) * padding.length


def paddings(judged: JudgedSubject) -> Iterator[PaddingFacts]:
    """The padding masks in the calls of encoders."""
    for encoder in judged.facts.encoders:
        if encoder.call and encoder.call.padding:
            yield encoder.call.padding


def best_sparse(seen: Sequence[ProvedState]) -> ProvedState | None:
    """The last state that leaves padding out and whose answer is right."""
    return next((state for state in reversed(seen) if state.converts), None)
