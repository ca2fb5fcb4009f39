"""An LSTM that forecasts a time series: the airline passengers of the 1950s."""

from __future__ import annotations

from typing import TYPE_CHECKING

import danlu as torch
from danlu import Tensor, nn
from danlu.cli.tour import plots
from danlu.cli.tour.lesson import Lesson, Outcome, Score, Watch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Passengers of international airlines by month, in thousands, from January 1949 on.
# G. E. P. Box and G. M. Jenkins, Time Series Analysis, 1976, series G.
PASSENGERS = (
    (112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118),
    (115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140),
    (145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166),
    (171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194),
    (196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201),
    (204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229),
    (242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278),
    (284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306),
    (315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336),
    (340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337),
    (360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405),
    (417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432),
)
FIRST_YEAR, WINDOW, FORECAST = 1949, 24, 24  # years; months that are seen; months that are not


class Forecaster(nn.Module):
    """Predicts how much the next month differs from the same month a year earlier."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(input_size=1, hidden_size=16, batch_first=True)
        self.linear = nn.Linear(16, 1)

    def forward(self, x):  # (N, months, 1) -> (N, 1)
        states, _ = self.lstm(x - x[:, -1:])
        return x[:, -12] + self.linear(states[:, -1])


def train_forecaster(series, watch):
    """Every window of the series is a sample; the month after it is the label."""
    starts = range(len(series) - WINDOW)
    x = torch.stack([series[i : i + WINDOW] for i in starts]).unsqueeze(2)  # (N, months, 1)
    y = series[WINDOW:].unsqueeze(1)  # (N, 1)
    net = Forecaster()
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in watch(range(60)):
        optimizer.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        watch.step(loss)
    return net


@torch.no_grad()
def forecast(net, series, months):
    """Predicts month after month, each from the predictions before it."""
    for _ in range(months):
        series = torch.cat([series, net(series[-WINDOW:].reshape(1, -1, 1))[0]])
    return series[-months:]


def draw(passengers: Tensor, predicted: Tensor, score: Score, watch: Watch) -> Figure:
    figure, axes = plots.panels((2.1, 1))
    years = FIRST_YEAR + torch.arange(len(passengers)) / 12
    known, unseen = years[:-FORECAST], years[-FORECAST:]
    axes[0].axvspan(unseen[0].item(), years[-1].item(), color=plots.RULE, alpha=0.5, linewidth=0)
    axes[0].plot(known, passengers[:-FORECAST], color=plots.INK, linewidth=1.4, label="trained on")
    axes[0].plot(unseen, passengers[-FORECAST:], color=plots.JADE, linewidth=2, label="what came")
    axes[0].plot(
        unseen,
        predicted,
        color=plots.CINNABAR,
        linewidth=2,
        linestyle=(0, (4, 2)),
        label="forecast",
    )
    axes[0].set(
        title=f"Two years ahead, off by {score.value:.1f} % on average",
        ylabel="thousand passengers a month",
    )  # fmt: skip
    axes[0].legend(loc="upper left")
    plots.loss_curve(axes[1], {"": watch.losses})
    return figure


def run(open_watch) -> Outcome:
    watch = open_watch("airline passengers")
    passengers = torch.tensor(PASSENGERS, dtype=torch.float32).flatten()
    series = passengers.log()[:-FORECAST]
    net = train_forecaster(series, watch)
    predicted = forecast(net, series, FORECAST).exp()
    truth = passengers[-FORECAST:]
    error = 100 * ((predicted - truth).abs() / truth).mean().item()
    score = Score("airline passengers", "mean error %", error, 7.0, watch, lower_is_better=True)
    return Outcome([score], draw(passengers, predicted, score, watch))


LESSON = Lesson(
    name="series",
    title="LSTM on a time series",
    about=(
        "Mid level: ten years of airline passengers, and a forecast of the next two, each month "
        "from the forecasts before it."
    ),
    code=(Forecaster, train_forecaster),
    run=run,
)
