"""Applies one cure after another to copies; each resulting state is judged before the next cure is chosen.

Choosing is pure. A cure that cannot be tried is kept with its reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.diagnosis import AS_IT_IS, SLOW, Check, Danger
from engine.doctor.cures import Cure, cure_codes, cure_for
from engine.eligibility.dangers import WRONG, dangers
from engine.eligibility.facts import ModelFacts
from engine.eligibility.plan import ModelPlan, checks, plan_of
from engine.eligibility.reading import read_facts
from engine.eligibility.subject import Subject

MOST_CURES = 12


@dataclass(frozen=True)
class JudgedSubject:
    """A subject with its facts and judgements, from before its own forward runs."""

    name: str
    title: str
    code: str
    subject: Subject
    facts: ModelFacts
    plan: ModelPlan
    checks: tuple[Check, ...]
    dangers: tuple[Danger, ...]

    @property
    def misleads(self) -> bool:
        """Whether its result would be silently wrong or NaN."""
        return any(danger.effect in WRONG for danger in self.dangers)

    @property
    def problems(self) -> tuple[str, ...]:
        """Keys of dangers that harm, then of conditions that fail and have a cure, then of what torch ignores."""
        harmful = [danger.key for danger in self.dangers if danger.effect != "ignored"]
        ignored = [danger.key for danger in self.dangers if danger.effect == "ignored"]
        return (*harmful, *(check.key for check in self.checks if check.cure), *ignored)


def examined(name: str, title: str, code: str, subject: Subject) -> JudgedSubject:
    """Read the facts of a subject and judge them."""
    facts = read_facts(subject)
    plan, codes = plan_of(facts), cure_codes()
    return JudgedSubject(name, title, code, subject, facts, plan, checks(plan, codes), dangers(plan, codes))


def by_the_slow_path(state: JudgedSubject) -> JudgedSubject:
    """The same call by the slow path, judged from the same facts: switching the fastpath off is enough for that."""
    setting = replace(state.facts.setting, fastpath=False, gradients=False, function_mode=False)
    plan, codes = plan_of(replace(state.facts, setting=setting)), cure_codes()
    slow = state.subject.slow()
    return JudgedSubject(
        SLOW, "The slow path", "", slow, plan.facts, plan, checks(plan, codes), dangers(plan, codes)
    )


def try_cures(subject: Subject) -> tuple[tuple[JudgedSubject, ...], tuple[str, ...]]:
    """The subject as it is, then after each further cure; and why other cures could not be applied."""
    states = [examined(AS_IT_IS, "As it is", "", subject)]
    tried, refused = set[str](), dict[str, str]()
    while len(states) <= MOST_CURES:
        step = _next_state(states[-1], tried, refused)
        if step is None:
            break
        state, gives_up = step
        states.append(state)
        if gives_up:
            break
    return tuple(states), tuple(refused.values())


def dangers_after_cures(states: tuple[JudgedSubject, ...]) -> tuple[Danger, ...]:
    """Dangers that appear only after a cure, because more of the fastpath is then taken; each kind once."""
    known = {danger.key for danger in states[0].dangers}
    later = {danger.key: danger for state in reversed(states[1:]) for danger in state.dangers}
    order = dict.fromkeys(danger.key for state in states[1:] for danger in state.dangers)
    return tuple(later[key] for key in order if key not in known)


def _next_state(
    now: JudgedSubject, tried: set[str], refused: dict[str, str]
) -> tuple[JudgedSubject, bool] | None:
    for cure in _candidates(now):
        if cure.key in tried:
            continue
        tried.add(cure.key)
        cured = cure.apply(now.subject, now.facts)
        if isinstance(cured, Subject):
            return examined(cure.key, cure.title, cure.code, cured), cure.gives_up
        refused[cure.key] = f"{cure.title}: {cured}"
    return None


def _candidates(now: JudgedSubject) -> Iterator[Cure]:
    """Cures of the present problems; those that leave the fastpath come last."""
    found = [cure for problem in now.problems if (cure := cure_for(problem))]
    yield from (cure for cure in found if not cure.gives_up)
    yield from (cure for cure in found if cure.gives_up)
