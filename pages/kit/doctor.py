"""A diagnosis on a page: the verdict, the dangers, what stands in the way, and what each cure gains."""

from datetime import UTC, datetime
from typing import Literal

import pandas as pd
import streamlit as st

from engine.diagnosis import Danger, Diagnosis, Effect, Part
from engine.present.charts.doctor import crossover_alt, crossover_chart, states_alt, states_chart
from engine.present.words.doctor_obstacles import (
    EFFECT_TITLES,
    LATER_DANGERS,
    PART_TITLES,
    PARTS,
    Obstacle,
    obstacles,
    passing_sentence,
    sorted_dangers,
    torchs_reason,
    where_words,
)
from engine.present.words.doctor import (
    PartStatus,
    Tone,
    as_it_is,
    conditions_sentence,
    explanation,
    headline,
    part_statuses,
    prediction_sentence,
    states_caption,
    tone,
)
from engine.present.words.doctor_cures import (
    all_cures,
    answer_words,
    gain_sentence,
    speedup_cell,
    verdict_cell,
)
from engine.present.words.doctor_sparsity import crossover_age, crossover_sentence, sparsity_sentence
from engine.present.words.runs import speedup_text
from pages.kit.markdown import as_text

Colour = Literal["green", "orange", "red"]
_COLOURS: dict[Tone, Colour] = {"good": "green", "middling": "orange", "bad": "red"}
_ICONS: dict[Tone, str] = {
    "good": ":material/check_circle:",
    "middling": ":material/warning:",
    "bad": ":material/cancel:",
}
_BOXES = {"good": st.success, "middling": st.warning, "bad": st.error}
_DANGER_BOXES = {"wrong": st.error, "not a number": st.error, "error": st.error, "ignored": st.warning}
_DANGER_ICONS: dict[Effect, str] = {
    "wrong": ":material/dangerous:",
    "not a number": ":material/dangerous:",
    "error": ":material/error:",
    "ignored": ":material/do_not_disturb_on:",
}


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """The whole diagnosis, the most important first."""
    _show_verdict(diagnosis)
    _show_dangers(diagnosis)
    st.subheader("What stands in the way")
    _show_conditions(diagnosis)
    st.subheader("What each cure gains")
    _show_states(diagnosis)
    st.subheader("How much can sparsity gain here?")
    _show_sparsity(diagnosis)
    st.subheader("Download")
    _show_download(diagnosis)


def _show_verdict(diagnosis: Diagnosis) -> None:
    level = tone(diagnosis)
    _BOXES[level](f"### {_ICONS[level]} {headline(diagnosis)}\n{as_text(explanation(diagnosis))}")
    with st.grid(2, min_column_width=260):
        for status in part_statuses(diagnosis):
            with st.container(border=True, height="stretch"):
                _part_card(status)
    st.caption(conditions_sentence(diagnosis))
    for note in diagnosis.environment.notes:
        st.caption(f":material/warning: {as_text(note[0].upper() + note[1:])}.")


def _part_card(status: PartStatus) -> None:
    st.caption(status.title)
    st.markdown(f":{_COLOURS[status.tone]}[{_ICONS[status.tone]}] **{status.proved}**")
    agreed = ":material/verified:" if status.agree else ":material/report:"
    st.caption(f"{agreed} {as_text(prediction_sentence(status))}")


def _show_dangers(diagnosis: Diagnosis) -> None:
    for danger in sorted_dangers(diagnosis):
        _danger_card(danger)
    for finding in diagnosis.findings:
        st.warning(as_text(finding), title="Prediction and proof disagree", icon=":material/rule:")


def _danger_card(danger: Danger) -> None:
    with st.container(border=True):
        title = f"{EFFECT_TITLES[danger.effect]}: {as_text(danger.has)}"
        _DANGER_BOXES[danger.effect](as_text(danger.why), title=title, icon=_DANGER_ICONS[danger.effect])
        silent = "" if danger.effect == "error" else " torch does not report this."
        st.caption(f"In {as_text(danger.module)}.{silent}")
        if danger.cure:
            st.code(danger.cure, wrap_lines=True)


def _show_conditions(diagnosis: Diagnosis) -> None:
    found = obstacles(diagnosis)
    if not found:
        beside = " The dangers above are not checked by torch." if diagnosis.dangers else ""
        st.markdown(f":green[:material/check_circle:] All conditions that torch checks are met.{beside}")
    with st.grid(2, min_column_width=300):
        for obstacle in found:
            with st.container(border=True, height="stretch"):
                _obstacle_card(obstacle, diagnosis.layers)
    if diagnosis.dangers_after_cures:
        st.markdown(f"**{LATER_DANGERS}**")
    for danger in diagnosis.dangers_after_cures:
        _danger_card(danger)
    with st.expander(f"{passing_sentence(diagnosis)}: see all", icon=":material/checklist:"):
        for part in PARTS:
            _conditions_table(diagnosis, part)
        _torch_reasons(diagnosis)


def _obstacle_card(obstacle: Obstacle, layers: int) -> None:
    check = obstacle.check
    with st.container(horizontal=True, gap="small"):
        for part in obstacle.parts:
            st.badge(PART_TITLES[part], color="red", icon=":material/cancel:")
    st.markdown(f"**Needs** {as_text(check.needs)}  \n**Has** {as_text(check.has)}")
    st.caption(f"{as_text(check.why)}  \nIn {as_text(where_words(check, layers))}.")
    if check.cure:
        st.code(check.cure, wrap_lines=True)
    else:
        st.caption("No line of code cures this.")
    if reason := torchs_reason(obstacle):
        st.caption(f":material/visibility_off: {as_text(reason)}")


def _conditions_table(diagnosis: Diagnosis, part: Part) -> None:
    checks = [check for check in diagnosis.checks if check.part == part]
    if not checks:
        return
    modules = {check.module for check in checks}
    everywhere = f", in {as_text(modules.pop())}" if len(modules) == 1 else ""
    st.markdown(f"**{PART_TITLES[part]}**{everywhere}")
    rows = {
        "": ["✓\u00a0met" if check.ok else "✕\u00a0fails" for check in checks],
        "Needs": [as_text(check.needs) for check in checks],
        "Has": [as_text(check.has) for check in checks],
    }
    if not everywhere:
        rows["Where"] = [as_text(check.module) for check in checks]
    st.table(
        pd.DataFrame(rows), border="horizontal", hide_index=True, alt=f"Conditions of {PART_TITLES[part]}"
    )


def _torch_reasons(diagnosis: Diagnosis) -> None:
    reasons = as_it_is(diagnosis).proof.torch_reasons
    if reasons:
        st.markdown("**torch's internal reasons in this forward (not logged)**")
    for found in reasons:
        times = "once" if found.calls == 1 else f"{found.calls} times"
        st.caption(f"`{found.where}`, {times}: “{as_text(found.reason)}”")


def _show_states(diagnosis: Diagnosis) -> None:
    if any(state.timing for state in diagnosis.states):
        st.markdown(as_text(gain_sentence(diagnosis)))
        st.altair_chart(states_chart(diagnosis), key="doctor_states", alt=states_alt(diagnosis))
        st.caption(states_caption(diagnosis))
    st.dataframe(
        states_table(diagnosis),
        hide_index=True,
        # Otherwise the message of an exception would push the times out of view.
        column_config={
            "Right answers?": st.column_config.TextColumn(width="medium"),
            **{name: st.column_config.TextColumn(width=70) for name in ("Fused", "Nested", "ms")},
        },
        alt="Every state of the model that was tried",
    )
    for reason in diagnosis.not_tried:
        st.caption(f":material/block: Not tried: {as_text(reason)}")
    if cures := all_cures(diagnosis):
        st.markdown("**All cures together**" if len(cures.splitlines()) > 1 else "**The cure**")
        st.code(cures, wrap_lines=True)


def states_table(diagnosis: Diagnosis) -> pd.DataFrame:
    """One row per state, in the order they were tried; the cures are shown below, where lines are not cut."""
    return pd.DataFrame(
        [
            {
                "State": state.title,
                "Fused": f"{state.proof.counts.fused_layers} of {diagnosis.layers}",
                "Nested": state.proof.counts.nested_conversions,
                "Right answers?": answer_words(state),
                "ms": f"{state.timing.median_ms:.1f}" if state.timing else "",
                "Speedup": speedup_cell(state),
                "Verdict": verdict_cell(diagnosis, state),
            }
            for state in diagnosis.states
        ]
    )


def _show_sparsity(diagnosis: Diagnosis) -> None:
    sparsity = diagnosis.sparsity
    if sparsity is None:
        st.caption("Not examined: this input has no mask that marks padding.")
        return
    measured = sparsity.measured
    with st.grid(3, min_column_width=200):
        tokens = f"{sparsity.real_tokens:,} of {sparsity.all_tokens:,}"
        st.metric("Real tokens", tokens, border=True)
        st.metric(
            "Speedup if padding were free",
            speedup_text(sparsity.bound),
            border=True,
            help="Floating-point operations of all tokens / of the real tokens.",
        )
        st.metric("Speedup measured", speedup_text(measured.speedup) if measured else None, border=True)
    st.markdown(sparsity_sentence(sparsity))
    if crossover := sparsity.crossover:
        st.altair_chart(
            crossover_chart(crossover, sparsity.padding_ratio),
            key="doctor_crossover",
            alt=crossover_alt(crossover, sparsity.padding_ratio),
        )
        age = crossover_age(crossover, datetime.now(UTC))
        st.caption(f"{crossover_sentence(crossover, sparsity.padding_ratio)} {age}")


def _show_download(diagnosis: Diagnosis) -> None:
    st.download_button(
        "Diagnosis (.json)",
        diagnosis.model_dump_json(indent=1),
        file_name=f"diagnosis-{diagnosis.created_at:%Y%m%d-%H%M%S}.json",
        mime="application/json",
        key="doctor_download",
        icon=":material/download:",
        on_click="ignore",
    )
