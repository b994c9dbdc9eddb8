"""Compare searches before and after a change to the probe, and explain similarities. Knows no page."""
