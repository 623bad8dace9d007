"""The steps that bring a database of any earlier version up to date, by Alembic; `migrating.py` runs them.

A database without Alembic's table `alembic_version` is empty or from before these steps, so the first step finds or
creates what the lab's first version created.

How to add a step:

1. Change `engine/store/tables.py` (or add a module with tables of the same METADATA).
2. Add `versions/vNNNN_name.py` with `revision = "NNNN"` and the last step's revision as `down_revision`. It names every
   column itself and imports nothing of the lab, because it must do the same when the lab has changed.
3. `tests/store/test_migrations.py` compares the result with METADATA, on SQLite and on PostgreSQL.

A step only adds: tables, indexes, and columns that may be empty or have a default in the database. Labs of an older
version may still use the database, and they insert rows of the columns that they know. Lists never read a column of
`runs` (`tables.py` says why). Values that need Python are filled in after the steps (`filling.py`): a step holds the
database's lock.
"""
