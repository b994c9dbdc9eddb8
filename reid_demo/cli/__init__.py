"""The commands of `python -m reid_demo`, one module a group; each adds its parsers and imports what it needs late."""
