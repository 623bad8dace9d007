"""Several measuring machines: the choice of one, and the same experiment on all of them side by side."""

import pandas as pd
import streamlit as st

from engine.desk.desk import the_desk
from engine.present.words.runs import interval_words, path_title, speedup_text
from engine.records import PathResult, Run
from pages.kit.state import RUN_SLOT, the_lab, view_of

FIRST_FREE, ALL_OF_THEM = "The first free one", "All of them"


def machines() -> tuple[str, ...]:
    """Names of the machines that measure for this server."""
    return the_desk().view(the_lab().visitor).machines


def choose_machine() -> None:
    """The choice of a machine, where there are several."""
    names = machines()
    if len(names) > 1:
        st.selectbox(
            "Machine",
            [FIRST_FREE, *names, ALL_OF_THEM],
            key="bench_machine",
            persist_state="session",
            width=220,
        )


def chosen_machines() -> tuple[str, ...]:
    """The machines for the next run; one empty name stands for the first free machine."""
    chosen = st.session_state.get("bench_machine", FIRST_FREE)
    names = machines()
    if chosen == ALL_OF_THEM and len(names) > 1:
        return names
    return (chosen,) if chosen in names else ("",)


def slot_of(machine: str) -> str:
    """The slot of this machine's run when all machines measure."""
    return f"{RUN_SLOT}@{machine}"


def runs_of_all_machines() -> tuple[Run, ...]:
    """The finished runs of the machines that measure the same experiment."""
    views = (view_of(slot_of(machine)) for machine in the_lab().all_machines)
    return tuple(view.run for view in views if view is not None and view.run is not None)


def rows_of_all_machines(runs: tuple[Run, ...]) -> list[dict[str, str]]:
    """One row per machine and path: time, speedup with its interval, verdict."""
    return [_row(run, path) for run in runs for path in run.paths if path.status == "ok"]


def _row(run: Run, path: PathResult) -> dict[str, str]:
    speedup = "baseline" if path.verdict is None or path.speedup is None else speedup_text(path.speedup)
    interval = interval_words(path.speedup_ci95) if path.speedup_ci95 else ""
    return {
        "machine": run.environment.machine,
        "path": path_title(path.name),
        "median": f"{path.median_ms:,.1f} ms" if path.median_ms is not None else "",
        "speedup": speedup,
        "95 % interval": interval,
        "verdict": path.verdict or "",
        "CPU": run.environment.cpu,
    }


def show_all_machines(runs: tuple[Run, ...]) -> None:
    """The machines side by side in one table."""
    st.subheader("The machines side by side")
    st.dataframe(pd.DataFrame(rows_of_all_machines(runs)), hide_index=True, width="stretch")
    st.caption("Each speedup is over the same machine's slow path.")
