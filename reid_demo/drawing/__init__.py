"""Overlays and charts: numbers to pictures, on fixed and stated scales. Knows no engine."""
