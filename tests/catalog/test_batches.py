"""The presets hold what their names promise."""

import pytest

from engine.catalog.batches import DEFAULT_PRESET, PRESET_NOTES, PRESETS, find_preset
from engine.errors import Refusal
from engine.settings import Settings
from engine.texts import checked_texts


def test_the_tutorials_very_texts() -> None:
    big = PRESETS["tutorial-big"].texts
    assert PRESETS["tutorial-small"].texts == ("Hello world", "How are you!") == big[:2]
    assert big[2].startswith("`Well, Prince, so Genoa and Lucca")
    assert big[2].endswith("St. Petersburg, used only by the elite.")
    assert len(big[2].split()) == 171


def test_every_preset_fits_the_default_settings_and_has_a_note() -> None:
    assert set(PRESET_NOTES) == set(PRESETS)
    for batch in PRESETS.values():
        assert checked_texts(batch.texts, Settings()) == batch.texts


def test_skewed_64_holds_64_texts() -> None:
    assert len(PRESETS["skewed-64"].texts) == 64


def test_unknown_presets_are_answered_with_the_known_ones() -> None:
    assert find_preset(DEFAULT_PRESET).name == DEFAULT_PRESET
    with pytest.raises(Refusal, match="tutorial-small"):
        find_preset("tutorial")
