"""Measure weights: metrics, benchmarks, calibration, and what the parts mean."""
