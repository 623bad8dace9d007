"""The templates of this room. A run may be a stranger's file, so nothing in it may become HTML or code.

HTML templates escape everything. Python templates take what a run holds through two filters only: `literal` and
`comment`.
"""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

LONGEST_LINE = 200


def rendered(template: str, **values: object) -> str:
    """A template of this room, filled in.

    Args:
        template: its file name under templates/; what ends with ".html.jinja" is escaped.
    """
    return _templates().get_template(template).render(**values)


def one_line(text: str) -> str:
    """Text as one line of printable characters, so that it cannot end a comment; cut at `LONGEST_LINE`."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..."


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("engine.present.reports"),
        autoescape=select_autoescape(enabled_extensions=("html.jinja",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = repr
    environment.filters["comment"] = one_line
    return environment
