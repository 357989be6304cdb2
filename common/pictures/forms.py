"""In which forms pictures are written: PNG always, and beside it one for papers when that is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TypeAlias, get_args

from metaobj.common.errors import UserError

Form: TypeAlias = Literal["png", "svg", "pdf"]
VECTORS = ("svg", "pdf")
_ASKED: ContextVar[Form] = ContextVar("figures", default="png")


@contextmanager
def figures_as(form: Form) -> Iterator[None]:
    """Within it, every picture of lines and words is also written in this form, beside the PNG; "png" asks for no more.

    A context rather than an argument: pictures are drawn at the end of long ways, through objectives' own code.

    Raises:
        UserError: there is no such form.
    """
    if form not in get_args(Form):
        raise UserError(f"figures: {form!r} given; choose from {', '.join(get_args(Form))}")
    token = _ASKED.set(form)
    try:
        yield
    finally:
        _ASKED.reset(token)


def asked() -> Form:
    """The form that is asked for."""
    return _ASKED.get()
