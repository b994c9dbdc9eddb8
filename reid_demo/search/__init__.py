"""Find a probe's nearest gallery images: similarity, gallery, vectors, and how a folder becomes a gallery."""
