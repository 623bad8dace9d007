"""Finished runs, kept in a database: SQLite in the data folder, or PostgreSQL by URL.

`store.py` is the room's entry. `tables.py` names the tables, `derived.py` has the values of their rows, `queries.py`
the questions. `opening.py` opens a database and brings it up to date.
"""
