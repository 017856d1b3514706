"""What becomes of a sample's pictures and target: which are inputs, and the user's functions applied to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class Augmentation:
    """A sample made of its pictures and its target: ``(inputs, target)``, or ``(inputs,)`` if it has no target.

    The inputs are the picture, or the tuple of several. Without targets the last of several pictures is the target, as
    of (image, mask). transform: applied to each input picture that is not a mask. transforms: a function of (inputs,
    target) to the same, after that. has_targets: whether there are targets beside the pictures. masks: positions of
    masks. Raises TypeError if a function is not callable.
    """

    def __init__(
        self,
        transform: Callable[[Any], Any] | None,
        transforms: Callable[[Any, Any], Any] | None,
        has_targets: bool,
        masks: Sequence[int],
    ) -> None:
        for name, function in (("transform", transform), ("transforms", transforms)):
            if not (function is None or callable(function)):
                raise TypeError(f"load and transform must be functions, got {name}={function!r}")
        self.transform, self.transforms = transform, transforms
        self._has_targets, self._masks = has_targets, masks

    def inputs(self, n: int) -> int:
        """Return how many of n pictures are inputs."""
        return n if self._has_targets or n == 1 else n - 1

    def transforms_picture(self, position: int, n: int) -> bool:
        """Return whether `transform` is for the picture at this position of n."""
        return self.transform is not None and position < self.inputs(n) and position not in self._masks

    def __call__(self, pictures: Sequence[Any], target: Any = None) -> tuple[Any, ...]:
        """Return the sample; raise ValueError if `transforms` has no target to work on, or returns no pair."""
        n = len(pictures)
        if self.transform is not None:
            pictures = [
                self.transform(picture) if self.transforms_picture(p, n) else picture
                for p, picture in enumerate(pictures)
            ]
        k = self.inputs(n)
        inputs = pictures[0] if k == 1 else tuple(pictures[:k])
        if not self._has_targets:
            if n == 1:
                return self._without_target(inputs)
            target = pictures[-1]
        if self.transforms is None:
            return inputs, target
        pair = self.transforms(inputs, target)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"transforms must return (image, target), got {type(pair).__name__}")
        return tuple(pair)

    def _without_target(self, inputs: Any) -> tuple[Any, ...]:
        if self.transforms is not None:
            raise ValueError(
                "transforms is a function of (image, target), and there is no target: pass targets=, let load return "
                "(image, mask), or pass transform=, a function of the image alone"
            )
        return (inputs,)
