"""Stores on both databases: SQLite, and a PostgreSQL server of the tests' own."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, create_engine, text

from benchmarks.postgres import postgres_server, programs
from engine.store.opening import FILE_NAME
from engine.store.store import Store

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))]
"""All tests with PostgreSQL run in one of pytest's processes, so that one server is enough."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[URL]:
    """A server that ends with the tests."""
    found = programs()
    if found is None:
        pytest.skip(
            "PostgreSQL is not installed, so the store is not tested with it: apt-get install postgresql"
        )
    with postgres_server(found) as url:
        yield url


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """An empty database: a file that does not exist yet, or a schema of the server."""
    if request.param == "sqlite":
        return URL.create("sqlite", database=str(tmp_path / "new folder" / FILE_NAME))
    server: URL = request.getfixturevalue("postgres")
    schema = f"test_{uuid4().hex}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    return server.update_query_dict({"options": f"-csearch_path={schema}"})


@pytest.fixture
def store(url: URL) -> Iterator[Store]:
    opened = Store(url)
    yield opened
    opened.close()
