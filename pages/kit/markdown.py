"""Words of users and of torch as Streamlit's Markdown, which shows them as they are."""

import re

_MARKDOWN = re.compile(r"([\\*_\[\]$~<>#|:])")


def as_text(words: str) -> str:
    """Text escaped for Markdown, so that it is shown as it is; code between backticks stays code."""
    spans = re.split(r"(`[^`]*`)", words)
    return "".join(span if span.startswith("`") else _MARKDOWN.sub(r"\\\1", span) for span in spans)
