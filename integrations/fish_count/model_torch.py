"""The network of model.py in PyTorch: uint8 pixels in, one number out, normalized and augmented inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FishCount(nn.Module):
    """A small convolutional regressor for images of any size; untrained, it predicts the mean."""

    def __init__(self, mean_count: float) -> None:
        super().__init__()
        layers = [_conv(3, 16, kernel=5, stride=2)]  # (n, 16, h/2, w/2)
        for before, filters in ((16, 32), (32, 48), (48, 64)):
            layers += [_conv(before, filters, stride=2), _conv(filters, filters)]
        self.features = nn.Sequential(*layers)  # (n, 64, h/16, w/16)
        self.count = nn.Linear(64, 1)
        nn.init.zeros_(self.count.weight)
        nn.init.constant_(self.count.bias, mean_count)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels / 127.5 - 1  # (n, 3, h, w), -1 to 1
        if self.training:
            flipped = torch.rand(len(x), 1, 1, 1) < 0.5  # (n, 1, 1, 1)
            x = torch.where(flipped, x.flip(3), x)
        return self.count(self.features(x).mean((2, 3)))[:, 0]  # (n,), from (n, 64)


def _conv(before: int, filters: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, filters, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.xavier_uniform_(conv.weight)
    # Without batch normalization a network this small may collapse and predict 0 for ever.
    return nn.Sequential(conv, nn.BatchNorm2d(filters, eps=1e-3, momentum=0.1), nn.ReLU())
