"""The readme that package indexes show, where relative links would lead nowhere: README.md without them.

With a Repository under [project.urls] in pyproject.toml the links lead to the files in it, without one they are text.
Everything else is in pyproject.toml.
"""

import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def package_readme(text: str, repository: str) -> str:
    """Return a page whose relative links are absolute, or text if the repository has no address ("")."""
    target = rf"[\1]({repository}/blob/HEAD/\2)" if repository else r"\1"
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)([^)\s]+)\)", target, text)


if __name__ == "__main__":
    address = re.search(r'^Repository = "(.+?)/?"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    readme = package_readme((ROOT / "README.md").read_text(encoding="utf-8"), address[1] if address else "")
    setup(long_description=readme, long_description_content_type="text/markdown")
