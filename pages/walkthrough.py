"""The Better Transformer tutorial, section by section, measured live and corrected where it is wrong."""

import streamlit as st

from pages.kit import nav

nav.guard()

from engine.analysis.tutorial_steps import STEP_PATHS
from engine.events import RunRequest
from engine.present.charts.runs import padding_alt, padding_map
from engine.present.words.runs import unfairness_sentence
from engine.catalog.batches import find_preset
from engine.records import Experiment, Run
from pages.kit import lessons
from pages.kit.address import find_again, keep_in_address
from pages.kit.batches import show_tokenized
from pages.kit.choosing import chosen_model, loading_panel, show_card, start_loading
from pages.kit.job_panel import job_panel
from pages.kit.results import show_steps, show_operators, show_proof, show_speedups, show_verdict
from pages.kit.state import live, submit, the_lab

ITERATIONS = 10
# The number of rounds is fixed; the budget only ends them on a machine that is too slow for ten.
TEN_ROUNDS_S = 180.0
AS_WRITTEN, CORRECTED = "enable_nested_tensor (as written)", "use_nested_tensor (corrected)"
lab = the_lab()


def show_lesson(lesson: lessons.Lesson) -> None:
    """A section: its idea, the tutorial's code, today's code, and the trap."""
    st.subheader(f"{lesson.number} {lesson.title}")
    st.markdown(lesson.idea)
    then, now = st.columns(2)
    then.caption("The tutorial")
    then.code(lesson.tutorial, language="python", wrap_lines=True)
    now.caption("Today")
    now.code(lesson.today, language="python", wrap_lines=True)
    if lesson.trap:
        st.warning(lesson.trap, title="Trap", icon=":material/warning:")


def start(slot: str, paths: tuple[str, ...]) -> None:
    """Measure these paths as the tutorial does, ten times; a callback."""
    batch = find_preset(st.session_state.walk_batch)
    experiment = Experiment(
        model=lab.model, batch=batch, paths=paths, iterations=ITERATIONS, budget_s=TEN_ROUNDS_S
    )
    submit(slot, lambda: RunRequest(experiment=experiment))


def measure(number: str, paths: tuple[str, ...], label: str = "") -> Run | None:
    """Draw the section's Run button and its live panel; return its run once it has finished.

    The page's address names the run, so that a reload finds it again.
    """
    slot = f"walk_{number}"
    lost = find_again(slot)
    # The job may end while the page is drawn. The button comes last, so that it never waits for a job that has ended.
    place = st.container(width="content")
    if lost:
        st.warning(lost, icon=":material/link_off:")
    view = job_panel(slot)
    keep_in_address(slot)
    place.button(
        label or f"Run {number}",
        key=f"{slot}_run",
        type="primary",
        icon=":material/play_arrow:",
        on_click=start,
        args=(slot, paths),
        disabled=live(slot),
    )
    return view.run if view else None


def show_result(number: str, run: Run | None) -> None:
    """The result below its section."""
    if run is None:
        return
    show_verdict(run)
    show_speedups(run, key=f"walk_{number}")
    show_proof(run)
    with st.expander("Where the time goes", icon=":material/bar_chart:"):
        show_operators(run, key=f"walk_{number}")


st.title("Walkthrough")
st.markdown(
    "PyTorch's tutorial *Fast Transformer Inference with Better Transformer*: its code, a button that runs each "
    "measurement, and its three traps."
)

show_lesson(lessons.LOAD)
st.caption(f"The model here is {chosen_model().title}; choose another on the Model page.")
st.button("Load", key="walk_load", icon=":material/download:", on_click=start_loading, args=(lab.model,))
loading_panel()
if card := lab.cards.get(lab.model):
    show_card(card)

show_lesson(lessons.DATASET)
st.segmented_control(
    "Batch for the runs below",
    ["tutorial-small", "tutorial-big"],
    default="tutorial-big",
    required=True,
    key="walk_batch",
    persist_state="session",
)
tokenized = show_tokenized(find_preset(st.session_state.walk_batch))
if tokenized is not None:
    st.altair_chart(padding_map(tokenized), key="walk_padding", alt=padding_alt(tokenized))

show_lesson(lessons.NATIVE_MHA)
run = measure("2.1", ("slow-train", "slow", "fast-nested"))
if run is not None and (sentence := unfairness_sentence(run, "slow-train", "fast-nested")):
    st.info(sentence, icon=":material/balance:")
show_result("2.1", run)

show_lesson(lessons.DEVICE)
switch = st.segmented_control(
    "Switch sparsity off by",
    [AS_WRITTEN, CORRECTED],
    default=AS_WRITTEN,
    required=True,
    key="walk_switch",
    persist_state="session",
)
mha = "tutorial-mha" if switch == AS_WRITTEN else "fast-mha"
show_result("2.2", measure("2.2", ("slow", mha, "fast-nested")))

show_lesson(lessons.SPARSITY)
show_result("2.3", measure("2.3", ("slow", "fast-mha", "fast-nested")))

st.subheader("Step by step")
st.markdown(
    "The tutorial compares a model in train mode with the fastpath. There are four steps between the two: no dropout, "
    "no autograd, native kernels, sparsity. Only the last two are Better Transformer. One experiment measures the "
    "speedup of each step."
)
steps = measure("steps", STEP_PATHS, "Run all steps")
if steps is not None:
    show_steps(steps, key="walk_steps")

st.subheader("What to remember")
st.markdown(
    "- **Measure against a fair slow path**: eval mode, no gradients, fastpath off.\n"
    "- **Do not trust a switch**: look in the profile for the operators that prove it.\n"
    "- **Sum the profile by operator** before reading it: `key_averages()`, not `print(prof)`."
)
