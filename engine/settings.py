"""Every knob of the lab, read from environment variables that start with FASTPATH_.

The table in docs/settings.md lists them; a test keeps the two alike.
"""

from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.errors import Refusal

PositiveInt = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """The lab's limits and places; frozen, so a run cannot change the rules it runs under."""

    model_config = SettingsConfigDict(env_prefix="FASTPATH_", frozen=True)

    offline: bool = Field(False, description="Never open a network connection; say what is missing instead.")
    torchtext_url: str = Field(
        "https://download.pytorch.org/models/text/",
        description="Where torchtext's bundles are fetched from; a classroom may name a mirror.",
    )
    max_texts: PositiveInt = Field(256, description="Most texts in a batch.")
    max_characters: PositiveInt = Field(20_000, description="Most characters in one text.")
    max_tokens: PositiveInt = Field(
        512,
        description="Longest text in tokens, special tokens included; longer ones are truncated, and told.",
    )
    model_cache_mb: PositiveInt = Field(
        6_000, description="Bytes budget of the cache of loaded models, in MB."
    )
    memory_reserve_mb: PositiveInt = Field(
        500, description="Memory in MB that loading a model must leave to everything else."
    )
    max_budget_s: PositiveInt = Field(
        600, description="Longest time in seconds that one experiment may measure."
    )


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        Refusal: a variable holds a value that does not fit, named with what would.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "FASTPATH_" + "_".join(map(str, first["loc"])).upper()
        raise Refusal(f"The setting {name} holds {first['input']!r}: {first['msg'].lower()}.") from None
