"""A folder for PYTHONPATH: `sitecustomize` in it activates the hooks in every Python process that trains."""
