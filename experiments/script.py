"""How a script here begins and, given what cannot be used, ends."""

from collections.abc import Callable

from metaobj.common.errors import UserError


def run_script(main: Callable[[], None]) -> None:
    """Call it; a user's error is one line, with status 1."""
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
