"""What a call says that has waited long for another one."""

from __future__ import annotations

from collections.abc import Callable
from reprlib import Repr
from typing import Any

from ...system.caller import warn_caller
from ...system.threads import LONG_WAIT_S, describe_thread

_repr = Repr()
_repr.maxstring = _repr.maxother = 200


class Patience:
    """How long the calls of one function wait for one another before a warning; twice as long after each.

    Whether they wait in vain cannot be seen: the function may just take long, and a lock tells nobody who waits for it.
    """

    def __init__(self, function: Callable[..., Any], may_run_alone: bool) -> None:
        self.seconds = LONG_WAIT_S
        self._function, self._may_run_alone = function, may_run_alone

    def warn(self, leader: int, waited_s: float, args: tuple[Any, ...], kwds: dict[str, Any]) -> None:
        """Warn that the call with these arguments has waited so long for that of the thread `leader`."""
        self.seconds *= 2
        remedy = "make the call without that lock"
        if self._may_run_alone:
            remedy += ", or have every call run the function itself: fill_once(..., once=False)"
        warn_caller(
            f"{_describe_call(self._function, args, kwds)} has waited {waited_s:.0f} s for {describe_thread(leader)}, "
            "which runs the function with the same arguments. It may just take long. But if the caller holds a lock "
            "that the function needs (its own, a library's, an import's), the two wait for each other forever, in the "
            f"wrong lock order: {remedy}"
        )


def _describe_call(function: Callable[..., Any], args: tuple[Any, ...], kwds: dict[str, Any]) -> str:
    arguments = [*map(_repr.repr, args), *(f"{name}={_repr.repr(value)}" for name, value in kwds.items())]
    return f"{getattr(function, '__qualname__', None) or _repr.repr(function)}({', '.join(arguments)})"
