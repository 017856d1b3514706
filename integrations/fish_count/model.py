"""The network: uint8 pixels in, one number out. It normalizes and augments inside, so that batches stay small."""

from __future__ import annotations

import keras
from keras import layers


def build_model(size: tuple[int, int], mean_count: float, learning_rate: float) -> keras.Model:
    """Build a small convolutional regressor for images of `size` (height, width), biased to the mean count."""
    pixels = keras.Input((*size, 3), dtype="uint8")  # (n, h, w, 3)
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)  # (n, h, w, 3), -1 to 1
    x = layers.RandomFlip("horizontal")(x)
    x = _conv(x, 16, kernel=5, stride=2)  # (n, h/2, w/2, 16)
    for filters in (32, 48, 64):
        x = _conv(x, filters, stride=2)
        x = _conv(x, filters)
    x = layers.GlobalAveragePooling2D()(x)  # (n, 64), from (n, h/16, w/16, 64)
    count = layers.Dense(1, bias_initializer=keras.initializers.Constant(mean_count))(x)  # (n, 1)
    model = keras.Model(pixels, count, name="fish_count")
    model.compile(keras.optimizers.Adam(learning_rate), keras.losses.Huber(), metrics=["mae"], jit_compile=False)
    return model


def _conv(x: keras.KerasTensor, filters: int, kernel: int = 3, stride: int = 1) -> keras.KerasTensor:
    # Without batch normalization a network this small may collapse and predict 0 for ever.
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x)
