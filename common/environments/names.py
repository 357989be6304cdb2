"""What a name says without anything being imported."""


def names_module(name: str) -> bool:
    """Whether making an environment of this name imports a Python module that the name tells."""
    return ":" in name
