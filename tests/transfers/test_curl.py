"""pycurl beside other libraries with a libcurl."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("bytecache.http", reason="HttpReader needs the extra http", exc_type=ImportError)


@pytest.mark.parametrize("first", ["tensorflow", "bytecache.http"])
def test_tensorflow_has_a_libcurl_of_its_own(first: str) -> None:
    """Whichever is imported first, pycurl works with the libcurl that it was built for."""
    pytest.importorskip("tensorflow", reason="it is TensorFlow's libcurl that pycurl could take for its own")
    reads = "from bytecache.http import HttpReader; print(HttpReader('http://127.0.0.1:9', retries=0)(['x']))"
    code = f"import {first}; import tensorflow; {reads}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "HttpError" in done.stdout
