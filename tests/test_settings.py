"""Settings come from the environment; a bad value names its variable; the docs list every one."""

from pathlib import Path

import pytest

from engine.errors import Refusal
from engine.settings import Settings, load_settings

DOCS = Path(__file__).parents[1] / "docs" / "settings.md"


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTPATH_MAX_TEXTS", "7")
    assert load_settings().max_texts == 7


def test_a_bad_value_is_refused_with_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTPATH_MAX_TEXTS", "many")
    with pytest.raises(Refusal, match="FASTPATH_MAX_TEXTS holds 'many'"):
        load_settings()


def test_the_docs_list_every_setting_with_its_description() -> None:
    text = DOCS.read_text()
    for name, field in Settings.model_fields.items():
        assert f"`FASTPATH_{name.upper()}`" in text
        assert (field.description or "missing") in text
