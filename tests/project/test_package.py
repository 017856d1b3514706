"""What package indexes and installers see: the readme, the extras, the lowest versions that are tested."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest
from helpers.links import relative_links
from helpers.oldest import lowest

import bytecache

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
IMPORTED = {
    "http": "pycurl",
    "images": "PIL",
    "keras": "keras",
    "plot": "matplotlib",
    "redis": "redis",
    "torch": "torch",
}  # by extra


@pytest.fixture(scope="module")
def package_readme():
    """The function of setup.py that makes the readme."""
    pytest.importorskip("setuptools", reason="setup.py imports setuptools")
    return runpy.run_path(str(ROOT / "setup.py"))["package_readme"]


def test_the_readme_of_a_project_without_an_address_has_no_relative_links(package_readme):
    """Their text stays; other links and anchors do too."""
    assert relative_links(README) != []
    page = package_readme(README, "")
    assert relative_links(page) == []
    assert package_readme("[a](b/c.md#d) [e](https://f) [g](#h)", "") == "a [e](https://f) [g](#h)"


def test_the_links_lead_into_the_repository_if_it_has_an_address(package_readme):
    """Each of them to the file that it names."""
    page = package_readme(README, "https://example.org/bytecache")
    assert relative_links(page) == []
    for target in relative_links(README):
        assert f"(https://example.org/bytecache/blob/HEAD/{target})" in page


def test_the_readme_renders(package_readme):
    """As on PyPI: readme_renderer finds nothing that it cannot show."""
    markdown = pytest.importorskip("readme_renderer.markdown", reason="readme-renderer is what PyPI renders with")
    if not markdown.variants:
        pytest.skip("readme-renderer needs its extra md")
    page = markdown.render(package_readme(README, ""))
    assert page is not None and page.count("<h2") == README.count("\n## ") and "<table>" in page


def test_every_extra_has_code():
    """Each extra installs what a module of the package imports; what developers need is in no extra."""
    section = PYPROJECT[PYPROJECT.index("[project.optional-dependencies]\n") :].split("\n[", 2)[0]
    extras = re.findall(r"^(\w+) = \[", section, re.M)
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(bytecache.__file__).parent.rglob("*.py"))
    assert set(extras) == set(IMPORTED)
    for module in IMPORTED.values():
        assert re.search(rf"^ *(import|from) {module}\b", sources, re.M), module


def test_lowest_versions():
    """Those of the core and of the given extras; a requirement without one is an error."""
    requirements = [
        "numpy>=1.24",
        "keras>=3.6; extra == 'keras'",
        'a-b>=4.0.1; (python_version < "3.15") and extra == "c"',
    ]
    assert lowest(requirements, []) == ["numpy==1.24"]
    assert lowest(requirements, ["c"]) == ["numpy==1.24", "a-b==4.0.1"]
    with pytest.raises(ValueError, match="expected a requirement such as 'numpy>=1.24', got 'numpy'"):
        lowest(["numpy"], [])


def test_the_sdist_has_every_file_of_the_project():
    """MANIFEST.in names, or setuptools adds, each file but those whose name begins with a dot."""
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a checkout")
    named = set((ROOT / "MANIFEST.in").read_text().split())
    added = {"LICENSE", "MANIFEST.in", "README.md", "bytecache", "pyproject.toml", "setup.py"}
    top = {path.split("/")[0] for path in listed.splitlines() if not path.startswith(".")}
    assert top - added - named == set()
