"""The settings of the lab, read from environment variables that start with FASTPATH_.

docs/settings.md lists them; a test compares the two.
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
    """Limits, folders and addresses; frozen, so that a run cannot change them."""

    model_config = SettingsConfigDict(env_prefix="FASTPATH_", frozen=True)

    offline: bool = Field(
        False, description="Never open a network connection; a missing file is reported instead."
    )
    torchtext_url: str = Field(
        "https://download.pytorch.org/models/text/",
        description="Address from which torchtext's bundles are downloaded; set it to use a mirror.",
    )
    data_folder: Path = Field(
        default_factory=lambda: user_data_path("fastpath-lab"),
        description="Folder for finished runs, the queue's journal and exported models.",
    )
    lock_file: Path = Field(
        default_factory=lambda: Path(gettempdir(), "fastpath-lab.lock"),
        description="Lock file that allows one measurement at a time; the same for every server on a machine.",
    )
    database_url: str = Field(
        "",
        description="Database of finished runs (SQLAlchemy URL); empty for SQLite in the data folder.",
    )
    runs_kept: PositiveInt = Field(
        10_000,
        description="Largest number of finished runs in the database; beyond it the oldest are deleted.",
    )
    scheduler: str = Field(
        "",
        description="Address of a Dask scheduler, such as tcp://10.0.0.1:8786; empty to measure on this machine.",
    )
    hosted: bool = Field(
        False,
        description="For a public server: catalogued models only, a share of the queue each, no internals in errors.",
    )
    max_texts: PositiveInt = Field(256, description="Largest number of texts in a batch.")
    max_characters: PositiveInt = Field(20_000, description="Largest number of characters in a text.")
    max_tokens: PositiveInt = Field(
        512,
        description="Largest number of tokens in a text, special tokens included; longer texts are truncated.",
    )
    max_batch_tokens: PositiveInt = Field(
        32_768, description="Largest number of tokens in a hosted visitor's batch, padding included."
    )
    model_cache_mb: PositiveInt = Field(6_000, description="Size of the cache of loaded models, in MB.")
    memory_reserve_mb: PositiveInt = Field(
        500, description="Memory in MB that must stay free when a model is loaded."
    )
    max_budget_s: PositiveInt = Field(600, description="Longest measuring time of an experiment, in seconds.")
    max_minutes: PositiveInt = Field(
        30, description="Longest time of a job, or of one cell of a sweep, in minutes."
    )
    max_silence_s: PositiveInt = Field(
        300,
        description="Longest time without an event from a measuring process, in seconds; then it is ended.",
    )
    viewer_grace_s: PositiveInt = Field(
        120,
        description="Seconds without a viewer after which a hosted visitor's queued jobs are cancelled.",
    )


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        Refusal: a variable has an invalid value; the sentence names it and what is expected.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "FASTPATH_" + "_".join(map(str, first["loc"])).upper()
        raise Refusal(f"The setting {name} holds {first['input']!r}: {first['msg'].lower()}.") from None
