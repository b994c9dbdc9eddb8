"""The page, the API, a visitor's own galleries, the Space, and the benchmark that times them."""
