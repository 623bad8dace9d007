"""The one exception that is meant for people.

A `Refusal` says in a clear sentence what happened, what was kept and what to do. The command line prints it
and exits with code 2; the child sends it as an event; a page shows it. Everything else is a defect of ours.
"""


class Refusal(Exception):  # noqa: N818  (the word used in the design)
    """Input or a situation that the lab declines, told in one sentence that a person can act on."""


def first_line(error: BaseException) -> str:
    """An exception's type and the first line of its message."""
    return f"{type(error).__name__}: {message_line(error)}"


def message_line(error: BaseException) -> str:
    """The first line of an exception's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"
