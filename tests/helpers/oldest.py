"""Print the lowest versions of the dependencies and extras that pyproject.toml admits, as requirements for pip.

    python tests/helpers/oldest.py images plot

Reads the metadata of the installed package, so that the versions are those that users get.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires


def lowest(requirements: list[str], extras: list[str]) -> list[str]:
    """Return "name==version" for each "name>=version" of the core and of these extras; raise ValueError for another."""
    pins = []
    for requirement in requirements:
        specifier, _, marker = requirement.partition(";")
        of_extra = re.search(r"extra == ['\"](\w+)['\"]", marker)
        if of_extra is not None and of_extra[1] not in extras:
            continue
        bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", specifier.strip())
        if bound is None:
            raise ValueError(f"expected a requirement such as 'numpy>=1.24', got {requirement!r}")
        pins.append(f"{bound[1]}=={bound[2]}")
    return pins


if __name__ == "__main__":
    print(*lowest(requires("bytecache") or [], sys.argv[1:]))
