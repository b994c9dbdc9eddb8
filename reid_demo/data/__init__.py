"""Benchmark layouts, ground truth, loaders, sampler and augmentation: files to batches."""
