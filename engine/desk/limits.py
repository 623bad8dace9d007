"""Limits for visitors and jobs, and the sentences for the user when one is exceeded; pure functions."""

from dataclasses import dataclass
from math import inf

from engine.settings import Settings

SECONDS_A_MINUTE = 60


@dataclass(frozen=True)
class Limits:
    """The desk's limits; the defaults are those of a laptop with one user.

    Attributes:
        longest_s: wall-clock time of one job.
        cells_apart: whether this is the time of each cell of a sweep, and not of all together.
        silence_s: longest time without an event from a child that works.
        grace_s: time without a viewer after which a visitor's queued jobs are cancelled.
        share: measurements that one visitor may have in the queue, besides a running one.
        quick_share: loads and tokenizations that one visitor may have queued and running.
    """

    longest_s: float = 30.0 * SECONDS_A_MINUTE
    silence_s: float = 300.0
    grace_s: float = inf
    share: float = inf
    quick_share: float = inf
    cells_apart: bool = True

    @property
    def one_each(self) -> bool:
        """Whether a visitor may have only one running measurement, even if machines are free."""
        return self.share < inf

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits in the settings; shares and grace apply only to a hosted server."""
        longest_s, silence_s = settings.max_minutes * SECONDS_A_MINUTE, settings.max_silence_s
        if not settings.hosted:
            return cls(longest_s, silence_s)
        return cls(longest_s, silence_s, settings.viewer_grace_s, share=1, quick_share=4, cells_apart=False)


def overdue(limits: Limits, running_s: float, silent_s: float) -> str:
    """Why a job must be ended; empty while it may go on."""
    if running_s > limits.longest_s:
        minutes = limits.longest_s / SECONDS_A_MINUTE
        return (
            f"This took longer than the limit of {minutes:g} minutes, so it was ended; "
            "your settings are kept: try a smaller model or batch, or fewer paths."
        )
    if silent_s > limits.silence_s:
        return (
            f"The measuring process sent nothing for {limits.silence_s:g} seconds, so it was ended; "
            "your settings are kept: try again, or try a smaller model or batch."
        )
    return ""


def share_used_up(limits: Limits, queued: int) -> str:
    """Why a visitor may not queue one more measurement; empty if they may."""
    if queued < limits.share:
        return ""
    return (
        "You already have a measurement in the queue. On this shared machine each visitor may have one running and one "
        "queued. Your settings are kept: start this one once the other runs, or cancel the other first."
    )


def quick_share_used_up(limits: Limits, live: int) -> str:
    """Why a visitor may not request one more load or tokenization; empty if they may."""
    if live < limits.quick_share:
        return ""
    return "You have too many open requests on this shared machine; wait a moment and try again."


def abandoned(limits: Limits) -> str:
    """Why a job was cancelled that nobody was watching."""
    return (
        f"Nobody had this page open for {limits.grace_s:g} seconds, so this was taken off the queue; "
        "your settings are kept: start it again."
    )


def machine_gone(machine: str) -> str:
    """Why a job failed whose machine has left."""
    return f"The machine {machine} is no longer available; your settings are kept: choose another and start again."
