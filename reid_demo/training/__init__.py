"""Train a variant of the paper: losses, the loop, several processes, a teacher."""
