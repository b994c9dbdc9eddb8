"""The commands of `python -m reid_demo`, one module per group. Each adds its parsers, and imports the rest to run."""
