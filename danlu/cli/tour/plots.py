"""The look of the pictures: one palette, and the panels that several lessons share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from danlu import Tensor

INK, MUTED, RULE, PAPER = "#26221f", "#8a8178", "#e4dccf", "#fffdf9"
CINNABAR, JADE, INDIGO, GOLD = "#c23b2a", "#2a8478", "#38578c", "#d79a2b"
CLASSES = (CINNABAR, JADE, INDIGO)

STYLE: Any = {
    "figure.facecolor": PAPER,
    "figure.dpi": 130,
    "savefig.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.facecolor": PAPER,
    "axes.edgecolor": "#b9aea0",
    "axes.labelcolor": "#5b544d",
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": "#8a8178",
    "ytick.color": "#8a8178",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.solid_capstyle": "round",
}


def panels(widths: tuple[float, ...], height: float = 3.9) -> tuple[Figure, list[Axes]]:
    """A wide figure with panels of these relative widths side by side."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.09, wspace=0.05)
    figure = Figure(figsize=(10.4, height), layout=layout)
    axes = figure.subplots(1, len(widths), width_ratios=widths)
    return figure, list(axes)


def loss_curve(axes: Axes, curves: dict[str, list[float]], title: str = "Loss") -> None:
    """Mean training loss of each epoch, on a logarithmic scale."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    for (label, losses), color in zip(curves.items(), (CINNABAR, JADE, INDIGO)):
        epochs = range(1, len(losses) + 1)
        axes.plot(epochs, losses, color=color, linewidth=1.8, label=label)
        axes.plot(epochs[-1], losses[-1], "o", color=color, markersize=4.5)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", length=0)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set(title=title, xlabel="epoch")
    if len(curves) > 1:
        axes.legend()


def field(axes: Axes, probability: Any, reach: tuple[float, float, float, float]) -> None:
    """The probability that a classifier gives to class 1 all over the plane, and its boundary.

    Args:
        probability: maps points (N, 2) to N probabilities.
        reach: left, right, bottom and top of the plane.
    """
    from matplotlib.colors import LinearSegmentedColormap

    import danlu as torch

    side = 160
    x, y = torch.linspace(reach[0], reach[1], side), torch.linspace(reach[2], reach[3], side)
    Y, X = torch.meshgrid(y, x, indexing="ij")
    with torch.no_grad():
        z = probability(torch.stack([X.flatten(), Y.flatten()], dim=1)).reshape(side, side)
    shades = LinearSegmentedColormap.from_list("two classes", [JADE, "#fbf6ec", CINNABAR])
    axes.imshow(
        z.numpy(), extent=reach, origin="lower", cmap=shades, vmin=0, vmax=1, alpha=0.5,
        aspect="equal", interpolation="bilinear",
    )  # fmt: skip
    axes.contour(x.numpy(), y.numpy(), z.numpy(), levels=[0.5], colors=INK, linewidths=1.4)
    axes.grid(visible=False)


def confusion(
    axes: Axes, labels: Tensor, predicted: Tensor, classes: list[str], title: str
) -> None:
    """How often each class was taken for each other one."""
    from matplotlib.colors import LinearSegmentedColormap

    import danlu as torch

    count = len(classes)
    counts = torch.bincount(labels * count + predicted, minlength=count * count)
    counts = counts.reshape(count, count)
    shades = LinearSegmentedColormap.from_list("counts", [PAPER, "#e9b9a6", CINNABAR])
    most = int(counts.max())
    axes.imshow(counts.sqrt().numpy(), cmap=shades, vmin=0, vmax=most**0.5 * 1.12)
    for row in range(count):
        for column in range(count):
            number = int(counts[row, column])
            if number:
                axes.text(
                    column, row, str(number), ha="center", va="center",
                    fontsize=8 if count > 5 else 12, fontweight="bold",
                    color="white" if number > most / 3 else INK,
                )  # fmt: skip
    axes.set_anchor("NW")
    axes.set(title=title, xlabel="predicted", ylabel="true")
    axes.set_xticks(range(count), classes)
    axes.set_yticks(range(count), classes)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
