"""Person re-identification with dynamic part templates: model, gallery, explanations and demo page."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """Offer `Engine` without importing torch until somebody asks for it."""
    if name == "Engine":
        from reid_demo.engine import Engine

        return Engine
    raise AttributeError(f"module 'reid_demo' has no attribute {name!r}")
