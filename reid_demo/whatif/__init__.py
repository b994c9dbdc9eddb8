"""What a change of the probe does and why a match scores what it scores. Numbers only; knows no page."""
