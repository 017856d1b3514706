"""How many bytes the objects of other libraries take, without importing these."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Part(NamedTuple):
    """What was found out about one object: its own bytes, and the objects that it keeps alive.

    known: whether that is all. opened: how many objects were measured as pickle sees them.
    """

    nbytes: int
    refers_to: Sequence[Any] = ()
    known: bool = True
    opened: int = 0


def measure_foreign(item: Any, kind: type) -> Part | None:
    """Return the part of a tensor, image or table of a library that is known here; None for any other object."""
    header = header_size(item, kind)
    for module, name, measure in _LIBRARIES:
        library = sys.modules.get(module)
        base = None if library is None else getattr(library, name, None)
        if isinstance(base, type) and issubclass(kind, base):
            part: Part = measure(item)
            return part._replace(nbytes=part.nbytes + header)
    if hasattr(kind, "get_total_buffer_size"):  # of pyarrow, with all that a slice keeps alive
        return Part(header + int(item.get_total_buffer_size()))
    if hasattr(kind, "estimated_size"):  # of polars, which does not tell what a slice keeps alive
        return Part(header + int(item.estimated_size()), known=False)
    if hasattr(kind, "__dlpack__") and hasattr(kind, "nbytes"):  # arrays of jax, cupy and others
        return Part(header + int(item.nbytes))
    try:
        with memoryview(item) as view:
            return Part(header + view.nbytes)
    except TypeError:
        return None


def header_size(item: Any, kind: type) -> int:
    """Return the bytes of the object itself, without those that its class may count in ``sys.getsizeof``."""
    inherited: Any = kind.__sizeof__
    return sys.getsizeof(item) if inherited is object.__sizeof__ else object.__sizeof__(item)


def _measure_torch(tensor: Any) -> Part:
    """Measure a tensor as its storage, which all its views keep alive, or a sparse one as its parts."""
    torch: Any = sys.modules["torch"]
    # The graph of a tensor that has a gradient may keep any number of others alive.
    known = not tensor.requires_grad or tensor.is_leaf
    gradient = [tensor.grad] if tensor.is_leaf and tensor.grad is not None else []
    if tensor.layout is torch.strided:
        return Part(0, [tensor.untyped_storage(), *gradient], known)
    if tensor.layout is torch.sparse_coo:
        return Part(0, [tensor._indices(), tensor._values(), *gradient], known)
    by_row = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
    indices = [tensor.crow_indices(), tensor.col_indices()] if by_row else [tensor.ccol_indices(), tensor.row_indices()]
    return Part(0, [*indices, tensor.values(), *gradient], known)


def _measure_storage(storage: Any) -> Part:
    return Part(0 if storage.device.type == "meta" else int(storage.nbytes()))


def _measure_tensorflow(tensor: Any) -> Part:
    """Measure a tensor by its own bytes: TensorFlow does not tell whether it is a slice of one that it keeps alive.

    A slice that is no copy has a multiple of 64 bytes, so another tensor is known in full.
    """
    if not tensor.dtype.size:  # of text
        return Part(0, [tensor.numpy()])
    nbytes = tensor.shape.num_elements() * tensor.dtype.size
    return Part(nbytes, known=nbytes % 64 > 0 or not tensor.shape.rank)


def _measure_composite(tensor: Any) -> Part:
    tensorflow: Any = sys.modules["tensorflow"]
    return Part(0, tensorflow.nest.flatten(tensor, expand_composites=True))


def _measure_variable(variable: Any) -> Part:
    return Part(0, [variable.value()])


_BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1}  # two for those with 16 bits, four for all others


def _measure_pillow(image: Any) -> Part:
    """Measure an image as its pixels, also if they have not been loaded yet, and what belongs to it."""
    width, height = image.size
    nbytes = width * height * (2 if image.mode.startswith("I;16") else _BYTES_PER_PIXEL.get(image.mode, 4))
    file = getattr(image, "fp", None)
    return Part(nbytes + 8 * height, [image.info, *([file] if isinstance(file, io.BytesIO) else [])])


_LIBRARIES: tuple[tuple[str, str, Callable[[Any], Part]], ...] = (
    ("torch", "Tensor", _measure_torch),
    ("torch", "UntypedStorage", _measure_storage),
    ("tensorflow", "Tensor", _measure_tensorflow),
    ("tensorflow", "Variable", _measure_variable),
    ("tensorflow.python.framework.composite_tensor", "CompositeTensor", _measure_composite),
    ("PIL.Image", "Image", _measure_pillow),
)
