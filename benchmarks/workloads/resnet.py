"""ResNet-50 as in torchvision (He et al. 2016, with the stride in the 3x3 convolution), and training steps of it."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 1000
DEPTHS, WIDTH = (3, 4, 6, 3), 64
TINY_DEPTHS, TINY_WIDTH = (1, 1), 8  # for a trial run on a CPU


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution and its batch normalization."""
    return [
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class Bottleneck(nn.Module):
    """A bottleneck block: 1x1, 3x3 and 1x1 convolutions with a shortcut around them."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.main = nn.Sequential(
            *convolution(inputs, width, 1), nn.ReLU(inplace=True),
            *convolution(width, width, 3, stride), nn.ReLU(inplace=True),
            *convolution(width, outputs, 1),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*convolution(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:  # (n, inputs, h, w) -> (n, 4 * width, h / stride, w / stride)
        return functional.relu(self.main(x) + self.shortcut(x), inplace=True)


def resnet(depths: Iterable[int], width: int) -> nn.Sequential:
    """Return a network from images (n, 3, h, w) to logits (n, CLASSES)."""
    layers = [*convolution(3, width, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = width
    for stage, depth in enumerate(depths):
        for block in range(depth):
            layers.append(Bottleneck(inputs, width << stage, 2 if stage and not block else 1))
            inputs = 4 * width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


class Training:
    """A network on a device, trained by SGD on arbitrary targets; channels last, and bfloat16 on a GPU."""

    def __init__(self, device: str, tiny: bool) -> None:
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True
        depths, width = (TINY_DEPTHS, TINY_WIDTH) if tiny else (DEPTHS, WIDTH)
        self._device = torch.device(device)
        self._net: Any = resnet(depths, width).to(self._device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(self._net.parameters(), lr=0.1, momentum=0.9)

    def synthetic(self, batch: int, side: int) -> tuple[Tensor, Tensor]:
        """Return a batch of noise that is already on the device."""
        images = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=self._device)
        return images, torch.arange(batch, device=self._device)

    def run(self, batches: Iterable[tuple[Any, Any]]) -> tuple[int, float]:
        """Train on batches of uint8 images (n, h, w, 3) or (n, 3, h, w); return their number and the seconds."""
        count, start = 0, perf_counter()
        for images, labels in batches:
            self._step(images, labels)
            count += len(labels)
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return count, perf_counter() - start

    def _step(self, images: Tensor, labels: Tensor) -> None:
        images = images.to(self._device, non_blocking=True)
        if images.shape[-1] == 3:
            images = images.permute(0, 3, 1, 2)  # a view, which is channels last
        targets = torch.as_tensor(labels).to(self._device, non_blocking=True) % CLASSES
        x = images.to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            loss = functional.cross_entropy(self._net(x), targets)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
