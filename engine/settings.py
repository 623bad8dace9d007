"""Every knob of the lab, read from environment variables that start with FASTPATH_.

The table in docs/settings.md lists them; a test keeps the two alike.
"""

from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

from platformdirs import user_data_path
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
    data_folder: Path = Field(
        default_factory=lambda: user_data_path("fastpath-lab"),
        description="Where the lab keeps what it has measured; the platform's own place for a user's data.",
    )
    lock_file: Path = Field(
        default_factory=lambda: Path(gettempdir(), "fastpath-lab.lock"),
        description="File whose lock keeps measurements apart; the same for every server on a machine.",
    )
    database_url: str = Field(
        "",
        description="Where finished runs are kept (SQLAlchemy's URL); empty for SQLite in the data folder.",
    )
    runs_kept: PositiveInt = Field(
        10_000, description="Most finished runs that are kept; the oldest make room for new ones."
    )
    scheduler: str = Field(
        "",
        description="Address of a Dask scheduler whose workers measure, as in tcp://10.0.0.1:8786; empty for here.",
    )
    hosted: bool = Field(
        False,
        description="A public demo: catalogued models only, a share of the queue each, no internals in errors.",
    )
    max_texts: PositiveInt = Field(256, description="Most texts in a batch.")
    max_characters: PositiveInt = Field(20_000, description="Most characters in one text.")
    max_tokens: PositiveInt = Field(
        512,
        description="Longest text in tokens, special tokens included; longer ones are truncated, and told.",
    )
    max_batch_tokens: PositiveInt = Field(
        32_768, description="Most tokens in a hosted visitor's batch, padding included."
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
    max_minutes: PositiveInt = Field(
        30, description="Longest time in minutes that one piece of work may take."
    )
    max_silence_s: PositiveInt = Field(
        300,
        description="Longest time in seconds that a measuring process may tell nothing before it is ended.",
    )
    viewer_grace_s: PositiveInt = Field(
        120,
        description="Seconds without a viewer after which a hosted visitor's queued work is taken off the queue.",
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
