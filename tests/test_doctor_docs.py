"""docs/doctor.md lists every condition and danger of the engine, word for word."""

from docs.write_doctor_tables import DOCS, tables, with_tables
from engine.eligibility.attention_conditions import ATTENTION_CONDITIONS
from engine.eligibility.dangers import RISKS
from engine.eligibility.encoder_conditions import CONSTRUCTION_CONDITIONS, ENCODER_CONDITIONS
from engine.eligibility.layer_conditions import LAYER_CONDITIONS


def test_the_tables_are_as_the_engine_has_them() -> None:
    """Where this fails, `python -m docs.write_doctor_tables` writes them anew."""
    text = DOCS.read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_every_condition_and_every_danger_has_its_row() -> None:
    """A marker that is misspelt would leave a table out, and the text unchanged."""
    text = DOCS.read_text(encoding="utf-8")
    assert all(table in text for table in tables().values())
    of_layers_and_attentions = (*LAYER_CONDITIONS, *ATTENTION_CONDITIONS)
    of_encoders = (*CONSTRUCTION_CONDITIONS, *ENCODER_CONDITIONS)
    for named in (*of_layers_and_attentions, *of_encoders, *RISKS):
        assert f"\n| `{named.key}` |" in text
