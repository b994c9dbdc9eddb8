"""The network of the paper, its weights on disk, and what describes images with it."""
