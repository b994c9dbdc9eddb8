"""Synthetic pedestrians: assets -> body -> people -> scenes -> renderer -> capture -> dataset, with their truth."""

NEEDS = "Rendering needs moderngl and scipy: pip install '.[synthetic]' in the clone."
