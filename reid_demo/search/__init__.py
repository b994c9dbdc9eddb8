"""Find a probe's nearest gallery images, and build galleries from folders."""
