"""The one error that the fish-count commands show to their user."""

from __future__ import annotations


class Problem(Exception):
    """What the user must change: the command line shows it without a traceback and exits with status 2."""
