"""Overlays and charts that turn numbers into pictures on fixed, stated scales. Knows no engine."""
