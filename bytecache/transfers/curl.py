"""pycurl, with the libcurl that it brings: imported from here alone."""

from __future__ import annotations

import os
import sys

_flags = sys.getdlopenflags() if hasattr(sys, "getdlopenflags") else None
if _flags is not None:
    # TensorFlow shows the functions of an older libcurl to the whole process, which pycurl would find before its own.
    sys.setdlopenflags(_flags | getattr(os, "RTLD_DEEPBIND", 0))
try:
    import pycurl as pycurl
    from pycurl import RETRY_AFTER as RETRY_AFTER  # absent before 7.48
finally:
    if _flags is not None:
        sys.setdlopenflags(_flags)
