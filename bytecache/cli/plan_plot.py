"""A plot of a plan: seconds per epoch over budget, a line for each choice, and the bound below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..planning.folder_plan import FolderPlan
from ..system.text import format_bytes, format_seconds, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours of Okabe and Ito, for colour-blind people.
_STAGED: dict[str, Any] = {"color": "#0072b2", "linewidth": 3, "zorder": 3}
_CHOICES: tuple[dict[str, Any], ...] = (
    {"color": "#000000", "linestyle": (0, (2, 2))},
    {"color": "#d55e00", "linewidth": 2},
    {"color": "#009e73", "linewidth": 2},
    {"color": "#cc79a7", "linewidth": 2},
)


def save_plan_plot(path: Path, found: FolderPlan, forms: Sequence[str]) -> None:
    """Write the plot to a file."""
    make_plan_figure(found, forms).savefig(path, dpi=120)


def make_plan_figure(found: FolderPlan, forms: Sequence[str]) -> Figure:
    """Return a figure of the curves and the budget; its legend has the seconds at the budget, the most first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log", base=4)
    plan, budgets = found.plan, found.budgets()
    curves = plan.curve(budgets)
    at_budget = {**plan.choices, "staged": plan.bound_s}
    styles = {"staged": _STAGED, **dict(zip(plan.choices, _CHOICES, strict=False))}
    names = {"staged": "staged, which is the bound"}
    for name in sorted(at_budget, key=at_budget.__getitem__, reverse=True):
        label = f"{names.get(name, name)}: {format_seconds(at_budget[name])}"
        axes.plot(budgets, curves[name], label=label, **styles[name])
        axes.plot(plan.maxbytes or 0, at_budget[name], "o", color=styles[name]["color"], markersize=6, zorder=4)
    axes.fill_between(budgets, curves["staged"], color="#eeeeee", zorder=0)
    _mark(axes, found, forms)
    _label(axes, found)
    return figure


def _mark(axes: Axes, found: FolderPlan, forms: Sequence[str]) -> None:
    budget = found.plan.maxbytes or 0
    axes.axvline(budget, color="#555555", linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
    axes.legend(
        title=f"seconds per epoch with {format_bytes(budget)}\n(dashed line)",
        loc="upper left",
        bbox_to_anchor=(1.01, 1),  # beside the curves, which are everywhere
    )
    above = axes.secondary_xaxis("top")
    wholes = [found.bytes_after(k) for k in range(len(forms))]
    labels = [f" all {form} \n {format_bytes(whole)} " for whole, form in zip(wholes, forms, strict=True)]
    above.set_xticks(wholes, labels)
    above.minorticks_off()
    if max(wholes) < 2 * min(wholes):  # the labels would overlap
        for whole, label in zip(wholes, above.get_xticklabels(), strict=True):
            label.set_horizontalalignment("left" if whole == max(wholes) else "right")
    for whole in wholes:
        axes.axvline(whole, color="#cccccc", linewidth=1, zorder=0.4)


def _label(axes: Axes, found: FolderPlan) -> None:
    budgets = found.budgets()
    sampled = "" if found.sampled == found.files else f", measured with {found.sampled:,} of them"
    axes.set_title(
        f"Seconds per epoch by budget and by what is kept\n{plural(found.files, 'file')}, "
        f"{format_bytes(found.nbytes)}, each read once per epoch{sampled}",
        fontsize="medium",
    )
    axes.set(xlim=(budgets[0], budgets[-1]), ylabel="predicted time to read and decode an epoch (s)")
    axes.set_ylim(0, 1.05 * max(*found.plan.choices.values(), 1e-9))
    axes.set_xlabel("budget (logarithmic)")
    axes.xaxis.set_major_formatter(lambda nbytes, _: format_bytes(nbytes))
    axes.grid(color="#eeeeee")
    axes.set_axisbelow(True)
