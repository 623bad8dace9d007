"""One module a step; the docstring of the folder above says how to add one."""
