"""Synthetic pedestrians with ground truth: assets -> body -> people -> scenes -> renderer -> capture -> dataset."""

NEEDS = "Rendering needs moderngl and scipy: pip install '.[synthetic]' in the clone."
