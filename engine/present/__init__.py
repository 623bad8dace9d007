"""Records turned into what people read: sentences, charts and reports. Only `charts` needs Altair and pandas."""
