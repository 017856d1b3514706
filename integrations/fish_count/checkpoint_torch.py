"""What ``train_torch`` saves after each epoch: the state to resume from, the best state, the row of metrics."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from .common import History
from .errors import UserError


def epochs_since_best(history: History) -> int:
    """Return how many epochs have passed since the one with the lowest val_mae."""
    errors = [row["val_mae"] for row in history]
    return len(errors) - 1 - errors.index(min(errors)) if errors else 0


def save(out: Path, history: History, size: tuple[int, int], **parts: Any) -> None:
    """Write the state of `parts` to last.pt, also to model.pt if this epoch is the best; append to history.csv.

    size: (height, width) of the images in pixels. parts: the network and the optimizer.
    """
    state = {"size": size, **{name: part.state_dict() for name, part in parts.items()}}
    for name in ["last.pt"] if epochs_since_best(history) else ["model.pt", "last.pt"]:
        torch.save(state, out / "unfinished")
        os.replace(out / "unfinished", out / name)  # so that neither is ever half a file
    with open(out / "history.csv", "a", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *sorted(history[-1].keys() - {"epoch"})])
        if len(history) == 1:
            writer.writeheader()
        writer.writerow(history[-1])


def load(path: Path, **parts: Any) -> tuple[int, int]:
    """Restore the state of the network, and of the optimizer, from a file; return the size of the images."""
    try:
        state = torch.load(path, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["size"]
    except (OSError, RuntimeError, LookupError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be loaded: {error}: train again into another --out") from None
