"""Measure weights: metrics, benchmarks, calibration, and the meaning of the parts."""
