"""What a visitor and a piece of work may take, and the sentence for who takes more; pure functions."""

from dataclasses import dataclass
from math import inf

from engine.settings import Settings

SECONDS_A_MINUTE = 60


@dataclass(frozen=True)
class Limits:
    """The desk's limits; the defaults are those of a laptop with one user.

    Attributes:
        longest_s: wall clock of one piece of work.
        silence_s: longest time that a child may tell nothing while it works.
        grace_s: time without a viewer after which a visitor's queued work is dropped.
        share: measurements that one visitor may have in the queue, beside one that runs.
        quick_share: loads and tokenizations that one visitor may have queued and running.
    """

    longest_s: float = 30.0 * SECONDS_A_MINUTE
    silence_s: float = 300.0
    grace_s: float = inf
    share: float = inf
    quick_share: float = inf

    @property
    def one_each(self) -> bool:
        """Whether a visitor has one measurement running at most, whatever else is free."""
        return self.share < inf

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that the settings ask for: visitors' shares and grace bind only a hosted server."""
        longest_s, silence_s = settings.max_minutes * SECONDS_A_MINUTE, settings.max_silence_s
        if not settings.hosted:
            return cls(longest_s, silence_s)
        return cls(longest_s, silence_s, settings.viewer_grace_s, share=1, quick_share=4)


def overdue(limits: Limits, running_s: float, silent_s: float) -> str:
    """Why a piece of work must be ended; empty while it may go on."""
    if running_s > limits.longest_s:
        minutes = limits.longest_s / SECONDS_A_MINUTE
        return (
            f"This took longer than the {minutes:g} minutes that one piece of work may take, so it was ended; "
            "your settings are kept: try a smaller model or batch, or fewer paths."
        )
    if silent_s > limits.silence_s:
        return (
            f"The measuring process told nothing for {limits.silence_s:g} seconds, so it was ended; "
            "your settings are kept: try again, or try a smaller model or batch."
        )
    return ""


def share_used_up(limits: Limits, queued: int) -> str:
    """Why a visitor may not queue one more measurement; empty where they may."""
    if queued < limits.share:
        return ""
    return (
        "You already have a measurement in the queue, and on this shared machine everybody has one running and one "
        "queued; your settings are kept: start this one when yours has begun, or cancel that one first."
    )


def quick_share_used_up(limits: Limits, live: int) -> str:
    """Why a visitor may not ask for one more load or tokenization; empty where they may."""
    if live < limits.quick_share:
        return ""
    return "You have asked for more than this shared machine does at once; wait a moment and try again."


def abandoned(limits: Limits) -> str:
    """What is told where nobody was there to see the work begin."""
    return (
        f"Nobody was looking for {limits.grace_s:g} seconds, so this was taken off the queue; "
        "your settings are kept: start it again."
    )


def machine_gone(machine: str) -> str:
    """What is told where the machine that was asked for has left."""
    return f"The machine {machine} is not there any more; your settings are kept: choose another and start again."
