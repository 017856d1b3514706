"""The arrays of a batch, filled with the pictures of its samples on threads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..images.arrays import Array
from ..images.batch import decode_on_threads, map_indexed
from ..system.threads import cpu_count
from .augmentation import Augmentation
from .buffers import BufferPool
from .pictures import SampleSpec
from .samples import SampleLoader

_Form: TypeAlias = tuple[tuple[int, ...], np.dtype[Any]]  # shape and dtype of a picture in its batch
_Failed: TypeAlias = dict[int, Exception]


class BatchWriter:
    """A maker of batches from loaded samples, in arrays of a pool; dtype: of the images, masks have their own.

    The first batch tells the shapes of all. Picklable if `augment` is. Safe for threads.
    """

    def __init__(self, samples: SampleLoader, augment: Augmentation, dtype: np.dtype[Any]) -> None:
        self._samples, self._augment, self._dtype = samples, augment, dtype
        self._forms: tuple[_Form, ...] | None = None  # of the pictures of a sample; set by the first batch
        self._buffers: dict[int, BufferPool] = defaultdict(BufferPool)  # for each picture of a sample

    @property
    def shape_known(self) -> bool:
        """Whether the shape of a sample is known."""
        return self._forms is not None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_buffers": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _buffers=defaultdict(BufferPool))

    def write(
        self, samples: dict[int, Any], failed: _Failed, targets: Sequence[Any], draws: Array | None
    ) -> tuple[list[Array], list[Any] | None]:
        """Return the pictures of samples 0 to n - 1, an array (n, ...) for each, and the targets by the same index.

        Samples that fail have arbitrary pixels; exceptions go into `failed`. targets: one for each sample. The targets
        that come are None unless `transforms` made them. draws: as for ``SampleLoader.specs``.
        """
        pictures = self._samples.pictures(samples, failed)
        specs = self._samples.specs(pictures, failed, draws)
        if self._augment.transforms is None:
            return self._write_pictures(pictures, specs, failed, len(targets)), None
        return self._write_transformed(pictures, specs, failed, targets)

    def _write_pictures(
        self, pictures: list[dict[int, Any]], specs: list[dict[int, SampleSpec]], failed: _Failed, n: int
    ) -> list[Array]:
        """Decode each picture into its row."""
        if self._forms is None:
            self._forms = self._common_forms(pictures, specs, failed)
        arrays = self._borrow(n)
        self._check_numbers(specs, failed)
        for p, out in enumerate(arrays):
            chosen = {i: (p, spec) for i, spec in specs[p].items() if i not in failed} if p < len(specs) else {}
            decode_on_threads(self._write, pictures[p] if chosen else {}, chosen, out, cpu_count(), failed)
        return arrays

    def _common_forms(
        self, pictures: list[dict[int, Any]], specs: list[dict[int, SampleSpec]], failed: _Failed
    ) -> tuple[_Form, ...] | None:
        """Return the forms of most samples, so that one odd sample does not make all others odd.

        If no sample has one, the exceptions go into `failed`.
        """
        n = len(specs)

        def made(i: int) -> list[tuple[int, Any]]:
            return [(p, self._made(p, n, pictures[p][i], specs[p][i])) for p in range(n) if i in specs[p]]

        odd: _Failed = {}
        forms = map_indexed(made, {i: i for i in specs[0]}, odd)
        if not forms:  # else raised again, and reported, when the sample is written into its batch
            failed.update(odd)
        odd.clear()  # the exceptions' tracebacks refer to this frame
        return self._most_common(forms.values())

    def _made(self, p: int, n: int, picture: Any, spec: SampleSpec) -> SampleSpec | Array:
        """Return something of the shape and dtype that the picture has in the batch."""
        return self._picture(p, n, picture, spec) if self._augment.transforms_picture(p, n) else spec

    def _most_common(self, samples: Iterable[list[tuple[int, Any]]]) -> tuple[_Form, ...] | None:
        forms = Counter(
            tuple((each.shape, each.dtype if p in self._samples.masks else self._dtype) for p, each in sample)
            for sample in samples
        )
        return forms.most_common(1)[0][0] if forms else None

    def _borrow(self, n: int) -> list[Array]:
        return [self._buffers[p].borrow((n, *shape), dtype) for p, (shape, dtype) in enumerate(self._forms or ())]

    def _check_numbers(self, specs: list[dict[int, SampleSpec]], failed: _Failed) -> None:
        n = len(self._forms or ())
        for i in specs[0]:
            found = sum(i in column for column in specs)
            if found != n and i not in failed:
                failed[i] = ValueError(f"the sample has {found} pictures, most of the first batch had {n}")

    def _picture(self, p: int, n: int, picture: Any, spec: SampleSpec, out: Array | None = None) -> Array:
        """Return picture p of n of a sample; `transform` gets an array of its own."""
        if not self._augment.transforms_picture(p, n):
            return self._samples.decode_one(picture, spec, out)
        return np.asarray(self._augment.transform(self._own(picture, spec)))  # type: ignore[misc]

    def _own(self, picture: Any, spec: SampleSpec) -> Array:
        """Return the picture in a writable array, not a stored one itself."""
        image = self._samples.decode_one(picture, spec)
        return image if image is not picture and image.flags.writeable else image.copy()

    def _write(self, picture: Any, spec: tuple[int, SampleSpec], out: Array) -> None:
        self._copy(self._picture(spec[0], len(self._forms or ()), picture, spec[1], out), out)

    def _copy(self, image: Array, out: Array) -> None:
        if image is out:
            return
        if image.shape != out.shape:
            hint = "" if self._samples.fit else ": pass size=(height, width) to resize them all"
            raise ValueError(f"the sample has shape {image.shape}, most of the first batch had {out.shape}{hint}")
        if image.dtype == object:
            raise TypeError("transform and transforms must return arrays, or tuples of such, as inputs")
        if not np.can_cast(image.dtype, out.dtype, "same_kind"):
            raise TypeError(f"the sample is {image.dtype}, which does not fit dtype={out.dtype.name!r}: pass dtype=")
        out[...] = image

    def _write_transformed(
        self,
        pictures: list[dict[int, Any]],
        specs: list[dict[int, SampleSpec]],
        failed: _Failed,
        targets: Sequence[Any],
    ) -> tuple[list[Array], list[Any]]:
        """Make each sample by `transforms`, then copy its inputs into their rows."""
        made: dict[int, tuple[list[Array], Any]] = {}

        def make(sample: list[Any], sample_specs: list[SampleSpec], i: Any) -> None:
            own = [self._own(picture, spec) for picture, spec in zip(sample, sample_specs, strict=True)]
            inputs, target = self._augment(own, targets[i])
            made[i] = [np.asarray(each) for each in (inputs if isinstance(inputs, tuple) else (inputs,))], target

        samples = {i: [column[i] for column in pictures if i in column] for i in specs[0]}
        all_specs = {i: [column[i] for column in specs if i in column] for i in specs[0]}
        indices: Any = {i: i for i in all_specs}
        decode_on_threads(make, samples, all_specs, indices, cpu_count(), failed)
        if self._forms is None:
            self._forms = self._most_common(list(enumerate(made[i][0])) for i in sorted(made))
        arrays = self._borrow(len(targets))
        rows: Any = {i: [array[i, ...] for array in arrays] for i in made}
        decode_on_threads(self._copy_inputs, {i: made[i][0] for i in made}, rows, rows, 1, failed)
        return arrays, [made[i][1] if i in made else None for i in range(len(targets))]

    def _copy_inputs(self, inputs: list[Array], _: object, rows: Any) -> None:
        if len(inputs) != len(rows):
            raise ValueError(f"the sample has {len(inputs)} inputs, most of the first batch had {len(rows)}")
        for image, out in zip(inputs, rows, strict=True):
            self._copy(image, out)
