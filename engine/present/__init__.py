"""Records as sentences, charts, terminal tables and reports. Only `charts` needs Altair and pandas."""
