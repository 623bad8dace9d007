"""What every measuring page has: the chosen model and batch, precision, device, the start button, the live panel."""

from collections.abc import Callable

import streamlit as st

from engine.desk.tickets import TicketView
from pages.kit import nav
from pages.kit.address import find_again, follow_choice, keep_in_address, link_to_share
from pages.kit.choosing import chosen_model, devices
from pages.kit.job_panel import job_panel
from pages.kit.state import live, the_lab


def show_model_and_batch() -> None:
    """The chosen model and batch, each with a link to the page that changes it; the address can choose them."""
    for trouble in follow_choice():
        st.warning(trouble, icon=":material/link_off:")
    batch = the_lab().batch
    texts = "1 text" if len(batch.texts) == 1 else f"{len(batch.texts)} texts"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(nav.MODEL, label=chosen_model().title, icon=":material/deployed_code:")
        st.page_link(nav.BATCH, label=f"{batch.name}, {texts}", icon=":material/format_list_bulleted:")


def choose_precision_and_device(prefix: str) -> None:
    """The model's precision, and the device where there is more than the CPU.

    Args:
        prefix: of the widgets' keys, `PREFIX_dtype` and `PREFIX_device`, which appear in the page's address.
    """
    st.segmented_control(
        "Precision",
        ["fp32", "bf16", "fp16"],
        default="fp32",
        required=True,
        key=f"{prefix}_dtype",
        bind="query-params",
    )
    if len(devices()) > 1:
        st.segmented_control(
            "Device", devices(), default="cpu", required=True, key=f"{prefix}_device", bind="query-params"
        )


def start_and_watch(
    slot: str, label: str, icon: str, key: str, on_start: Callable[[], None]
) -> TicketView | None:
    """The start button, a warning if the link is too old, and the live panel; returns the slot's view.

    The ticket is kept in the page's address, so that a reload finds the job again.
    """
    lost = find_again(slot)
    # The job may end while the page is drawn. The button comes last, so that it never waits for a job that has ended.
    place = st.container(width="content")
    if lost:
        st.warning(lost, icon=":material/link_off:")
    view = job_panel(slot, link_to_share(slot))
    keep_in_address(slot)
    place.button(
        label,
        key=key,
        type="primary",
        icon=icon,
        shortcut="Ctrl+Enter",
        on_click=on_start,
        disabled=live(slot),
    )
    return view
