"""The packages that a command needs, looked for before it begins."""

from __future__ import annotations

import importlib

from .errors import UserError
from .keras_import import import_keras

PACKAGES = {  # module: name, extra of bytecache
    "PIL": ("Pillow", "images"),
    "matplotlib": ("matplotlib", "plot"),
    "keras": ("Keras and a backend", "keras"),
    "torch": ("PyTorch", "torch"),
    "bytecache.http": ("pycurl", "http"),
}


def require(*modules: str) -> None:
    """Raise UserError, with the command that installs them all, if any of these modules cannot be imported."""
    missing, reasons = [], []
    for module in modules:
        try:
            import_keras() if module == "keras" else importlib.import_module(module)
        except (ImportError, ValueError) as error:  # ValueError: KERAS_BACKEND names none
            missing.append(PACKAGES[module])
            reasons.append(str(error).splitlines()[0] if str(error) else module)
    if missing:
        names, extras = zip(*missing, strict=True)
        raise UserError(
            f"needs {' and '.join(names)}: pip install 'bytecache[{','.join(sorted(extras))}]' ({'; '.join(reasons)})"
        )
