"""What a name says without anything being imported."""

EXTRAS = ("brax", "craftax", "gymnasium", "jumanji")
"""Optional extras of this package, each with environments called EXTRA/..."""

CONTINUOUS = ("brax",)
"""Those whose actions are continuous; Gymnasium has both kinds."""


def names_module(name: str) -> bool:
    """Whether making an environment of this name imports a Python module that the name tells."""
    return ":" in name


def needed_extra(name: str) -> str | None:
    """The optional extra that an environment of this name needs."""
    family, slash, _ = name.partition("/")
    return family if slash and family in EXTRAS else None
