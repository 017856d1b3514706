"""The error that the fish-count commands report to their user."""

from __future__ import annotations


class UserError(Exception):
    """A problem that the user can fix; the command prints it without a traceback and exits with status 2."""
