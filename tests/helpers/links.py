"""Links of pages in Markdown."""

from __future__ import annotations

import re


def relative_links(page: str) -> list[str]:
    """Return the targets of a page's links and images that lead to files of the project."""
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", page) if not re.match(r"[a-z]+:|#", target)]
