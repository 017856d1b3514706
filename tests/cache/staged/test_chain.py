"""The stages of a pipeline as one function, without a cache."""

from __future__ import annotations

import functools

from bytecache.cache.staged.chain import Chain


def test_each_stage_gets_what_the_one_before_returns() -> None:
    """The last one's value is returned; what a stage raises is raised."""
    assert Chain([str, len, lambda n: n + 1], False)(12345) == 6


def test_a_list_has_exceptions_in_the_place_of_values() -> None:
    """Those that the first stage has returned, and those that a later one has raised for its item."""
    chain = Chain([lambda keys: [key if key else LookupError("none") for key in keys], lambda n: 6 // (n - 3)], True)
    values = chain([4, 0, 3, 5])
    assert values[0] == 6 and values[3] == 3
    assert [type(one) for one in values[1:3]] == [LookupError, ZeroDivisionError]


def test_names() -> None:
    """A partial is named by its function, an object by its class."""

    class Reader:
        def __call__(self, key: str) -> str:
            return key

    chain = Chain([Reader(), functools.partial(max, 3), lambda value: value], False)
    assert chain.names == ["Reader", "max", "<lambda>"]
    assert chain.__qualname__ == chain.__name__ == "staged(Reader, max, <lambda>)"
