"""Synthetic pedestrians: assets -> body -> people -> scenes -> renderer -> capture -> dataset, with their truth."""
