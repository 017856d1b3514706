"""What a policy will do, before training."""

from __future__ import annotations

import math


def predict_hit_rate(policy: str, fraction: float) -> float:
    """The steady hit rate, 0 to 1, when each item is read once per epoch in a fresh uniform shuffle.

    policy: "fill_once", "lru" or "none". fraction: how much of the data the cache holds, budget / bytes; 1 and more is
    all of it.

    fill_once: c, which is also the most any policy can get, since at most that share is held when an epoch begins.
    lru: c + (1 - c) ln(1 - c). An item read at place x of one epoch and y of the next, both as shares, is still held
    where the distinct items read between are fewer than the cache holds: (1 - x) + y - (1 - x) y < c. The rate is
    the area of the (x, y) for which that is so.

    Raises ValueError for another policy or a negative fraction.
    """
    if not fraction >= 0:
        raise ValueError(f"fraction must be budget / bytes, 0 or more, got {fraction!r}")
    held = min(1.0, float(fraction))
    if policy == "fill_once":
        return held
    if policy == "lru":
        return held + (1 - held) * math.log(1 - held) if held < 1 else 1.0
    if policy == "none":
        return 0.0
    raise ValueError(f'policy must be "fill_once", "lru" or "none", got {policy!r}')
