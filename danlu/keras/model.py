"""`Model`: the older interface, `compile` and then `fit`, as torchkeras 1 had it."""

from __future__ import annotations

import danlu
from danlu import nn
from danlu.keras import checks
from danlu.keras.accelerator import to_device
from danlu.keras.data import as_loader, features_of
from danlu.keras.summary import summary
from danlu.keras.trainer import RunningMeans, number, pair
from danlu.keras.utils import now, say, text_table

_NOT_COMPILED = "call `compile(loss_func=...)` first"


class Model(nn.Module):
    """A network that is compiled, fitted, evaluated and asked for predictions.

    Either wraps a network, ``Model(net)``, or is subclassed with a `forward` of its own.

    Args:
        net: the network, or None in a subclass.

    Example::

        >>> import danlu as torch
        >>> from danlu.keras import Model
        >>> _ = torch.manual_seed(0)
        >>> x = torch.rand(40, 2)
        >>> data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
        >>> loader = torch.utils.data.DataLoader(data, batch_size=10)
        >>> model = Model(torch.nn.Linear(2, 1))
        >>> model.compile(loss_func=torch.nn.MSELoss())
        >>> history = model.fit(2, loader, quiet=True)
        >>> list(history.columns)
        ['loss']
        >>> list(model.evaluate(loader))
        ['val_loss']
    """

    def __init__(self, net=None):
        super().__init__()
        self.net = net
        self.history, self.loss_func, self.optimizer = {}, None, None
        self.metrics_dict, self.device = {}, None

    def forward(self, x):
        if self.net is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no network: define forward, or write Model(net)"
            )
        return self.net(x)

    def compile(self, loss_func, optimizer=None, metrics_dict=None, device=None):
        """Sets what `fit` uses, and empties the history.

        Args:
            loss_func: called as ``loss_func(predictions, labels)``.
            optimizer: Default: ``Adam(self.parameters(), lr=1e-3)``
            metrics_dict: functions of (predictions, labels) by name, each giving one number.
            device: where to train if it is a GPU that is there; None: the CPU.
        """
        self.history = {}
        self.loss_func, self.metrics_dict = loss_func, dict(metrics_dict or {})
        self.optimizer = optimizer
        if optimizer is None:
            self.optimizer = danlu.optim.Adam(self.parameters(), lr=1e-3)
        self.device = device if danlu.cuda.is_available() else None
        if self.device is not None:
            self.to(self.device)

    def fit(self, epochs, dl_train, dl_val=None, log_step_freq=1, quiet=False):
        """Trains; returns the history as a pandas DataFrame with columns ``loss, <metric> ...,
        val_loss, val_<metric> ...``.

        Each value is the mean over the epoch's batches. A second `fit` continues the history.

        Args:
            epochs: how many.
            dl_train, dl_val: batches ``(features, labels)``.
            log_step_freq: print the running means every so many steps. Default: 1
            quiet: print nothing. Default: False

        Raises:
            RuntimeError: before `compile`.
            ValueError: for a first batch whose shapes would broadcast or whose labels are out of
                range.
        """
        import pandas

        self._require_compiled()
        dl_train = as_loader(dl_train, name="dl_train", shuffle=True)
        dl_val = None if dl_val is None else as_loader(dl_val, name="dl_val")
        say(f"Start Training ...\n\n{'=' * 80}{now()}", quiet=quiet)
        for epoch in range(1, epochs + 1):
            batches = dl_train if epoch > 1 else checks.checking_first(dl_train, self._check)
            values = self._train_epoch(batches, log_step_freq, quiet)
            if dl_val is not None:
                values.update(self.evaluate(dl_val))
            for name, value in values.items():
                self.history.setdefault(name, []).append(value)
            row = [epoch, *(round(value, 3) for value in values.values())]
            say(f"\n {text_table(['epoch', *values], [row])}\n\n{'=' * 80}{now()}", quiet=quiet)
        say("Finished Training...", quiet=quiet)
        return pandas.DataFrame(self.history)

    def evaluate(self, dl_val):
        """The means over batches of loss and metrics, as floats named ``val_loss``,
        ``val_<metric>``.

        Raises:
            RuntimeError: before `compile`.
        """
        self._require_compiled()
        self.eval()
        means = RunningMeans()
        with danlu.no_grad():
            for batch in as_loader(dl_val, name="dl_val"):
                features, labels = self._placed(pair(batch))
                predictions = self(features)
                loss = self.loss_func(predictions, labels)
                means.add(self._values(loss, predictions, labels))
        return {f"val_{name}": value for name, value in means.means().items()}

    def predict(self, dl):
        """The output for every row, in eval mode; of each batch the first element is used."""
        self.eval()
        with danlu.no_grad():
            outputs = [self(self._placed(features_of(batch))) for batch in as_loader(dl, name="dl")]
        if not outputs:
            raise ValueError("the data holds no batch")
        return danlu.cat(outputs)

    def summary(self, input_shape, input_dtype=None, batch_size=-1):
        """Prints the layers, see `danlu.keras.summary`."""
        summary(
            self,
            input_shape=input_shape,
            input_dtype=input_dtype,
            batch_size=batch_size,
            layout="narrow",
        )

    def _train_epoch(self, batches, log_step_freq, quiet):
        """One epoch; returns the means of loss and metrics over its batches."""
        self.train()
        optimizer, means = self.optimizer, RunningMeans()
        for step, batch in enumerate(batches, 1):
            features, labels = self._placed(pair(batch))
            optimizer.zero_grad()
            predictions = self(features)
            loss = self.loss_func(predictions, labels)
            values = self._values(loss, predictions, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            means.add(values)
            if step % log_step_freq == 0 and not quiet:
                rounded = {name: round(value, 3) for name, value in means.means().items()}
                say({"step": step, **rounded})
        if not means.count:
            raise ValueError("the training data holds no batch")
        return means.means()

    def _values(self, loss, predictions, labels):
        """Loss and metrics of one batch as numbers."""
        values = {"loss": number(loss)}
        for name, metric in self.metrics_dict.items():
            values[name] = number(metric(predictions, labels))
        return values

    def _check(self, batch):
        checks.check_batch(self, self.loss_func, {}, self._placed(batch))
        self.train()

    def _placed(self, batch):
        return batch if self.device is None else to_device(batch, self.device)

    def _require_compiled(self):
        if self.loss_func is None:
            raise RuntimeError(f"{type(self).__name__}: {_NOT_COMPILED}")
