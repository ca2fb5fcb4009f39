"""``TableEncoder``: the columns of a pandas DataFrame as one tensor of numbers."""

from __future__ import annotations

import numpy as np

from danlu.tabular.columns import (
    CategoryColumn,
    NumberColumn,
    PresenceColumn,
    TargetColumn,
    is_numeric,
)
from danlu.tensor import Tensor, wrap
from danlu.utils.data import TensorDataset

__all__ = ["TableEncoder"]

_FILLS = ("median", "mean", "most_frequent")


class TableEncoder:
    """Encodes the columns of a pandas DataFrame as float32, with what `fit` learned from the data.

    Columns of numbers are filled where values are missing, which an indicator column
    ``<column>_null`` tells, and standardized: (x - mean) / standard deviation, both of the filled
    column. All other columns are categories and become one column per value, ``<column>_<value>``,
    and ``<column>_nan`` for missing ones (one-hot). The order of the columns stays.

    Args:
        target: the column to predict. Default: None
        numeric: columns to read as numbers whatever their type.
        categorical: columns to read as categories, also if they hold numbers.
        presence: columns of which only whether the value is missing is kept, as ``<column>_null``.
        drop: columns to leave out.
        missing: what fills missing numbers: "median" (the default), "mean", "most_frequent", a
            number, or a dict of these by column; columns that are not in it get the median.
        missing_category: "category" (the default), a column of its own for missing categories, or
            "most_frequent".
        indicators: whether numeric columns with missing values get an indicator. Default: True
        standardize: True (the default), False, or a list of columns.
        unknown: what happens to a category that `fit` has not seen: "ignore" (the default), zeros
            in all its columns, or "error".
        target_type: "number", float32 of shape (N, 1); "class", int64 of shape (N,), the number of
            the value among the sorted ones; "auto" (the default), "class" unless the type of the
            column is numeric.
        max_categories: a column with more categories is refused, as it is likely a name or a key.
            Default: 100

    Attributes:
        classes_: the values of a target of type "class" in order, else None.

    Example:
        >>> import pandas
        >>> from danlu.tabular import TableEncoder
        >>> train = pandas.DataFrame({"size": [1.0, 3.0], "kind": ["a", "b"], "price": [10, 20]})
        >>> encoder = TableEncoder(target="price")
        >>> dataset = encoder.fit(train).to_dataset(train)
        >>> dataset[0]
        (tensor([-1.,  1.,  0.]), tensor([10.]))
    """

    def __init__(
        self,
        target=None,
        *,
        numeric=(),
        categorical=(),
        presence=(),
        drop=(),
        missing="median",
        missing_category="category",
        indicators=True,
        standardize=True,
        unknown="ignore",
        target_type="auto",
        max_categories=100,
    ):
        self.target = target
        self.numeric, self.categorical = numeric, categorical
        self.presence, self.drop = presence, drop
        self.missing, self.missing_category = missing, missing_category
        self.indicators, self.standardize = indicators, standardize
        self.unknown, self.target_type = unknown, target_type
        self.max_categories = max_categories

    # ------------------------------------------------------------ learning
    def fit(self, frame) -> TableEncoder:
        """Learn the columns, categories, fillings and scales of a DataFrame; returns the encoder.

        Raises:
            TypeError: no DataFrame.
            KeyError: an option names a column that is not there.
            ValueError: an option with a value that it cannot have, an empty table, or a column that
                cannot be encoded; the message names column and value.
        """
        _check_frame(frame, "fit")
        self._check_options(frame)
        columns, target = [], None
        for name in frame.columns:
            if name == self.target:
                target = TargetColumn(name, self.target_type).fit(frame[name])
            elif name not in self.drop:
                columns.append(self._column(name, frame[name]).fit(frame[name]))
        if not columns:
            raise ValueError("TableEncoder.fit: no columns are left to encode")
        self._columns, self._target = columns, target
        self.classes_ = target.classes if target else None
        return self

    def _column(self, name, series):
        if name in self.presence:
            return PresenceColumn(name)
        if name in self.numeric or (name not in self.categorical and is_numeric(series)):
            fill = (
                self.missing.get(name, "median") if isinstance(self.missing, dict) else self.missing
            )
            scaled = self.standardize
            if not isinstance(scaled, bool):
                scaled = name in scaled
            return NumberColumn(name, fill, self.indicators, scaled)
        if series.dtype.kind in "mM":
            raise ValueError(
                f"column {name!r} holds times ({series.dtype}): make numbers of them, for instance "
                f"frame[{name!r}].dt.dayofyear, or list it in drop="
            )
        return CategoryColumn(name, self.missing_category, self.unknown, self.max_categories)

    def _check_options(self, frame):
        roles: dict = {}
        for option in ("numeric", "categorical", "presence", "drop"):
            names = getattr(self, option)
            if isinstance(names, str):
                raise TypeError(f"TableEncoder: {option} must be a list of columns: [{names!r}]")
            for name in names:
                self._check_column(name, option, frame)
                if roles.setdefault(name, option) != option:
                    raise ValueError(
                        f"TableEncoder: column {name!r} is listed in both {roles[name]} and "
                        f"{option}"
                    )
        if self.target is not None:
            self._check_column(self.target, "target", frame)
            if self.target in roles:
                raise ValueError(
                    f"TableEncoder: column {self.target!r} is the target and listed in "
                    f"{roles[self.target]}"
                )
        fills = self.missing.values() if isinstance(self.missing, dict) else [self.missing]
        for fill in fills:
            if not isinstance(fill, (int, float)):
                _check_choice("missing", fill, _FILLS, "or a number")
        if isinstance(self.missing, dict):
            for name in self.missing:
                self._check_column(name, "missing", frame)
        if not isinstance(self.standardize, bool):
            for name in self.standardize:
                self._check_column(name, "standardize", frame)
        _check_choice("missing_category", self.missing_category, ("category", "most_frequent"))
        _check_choice("unknown", self.unknown, ("ignore", "error"))
        _check_choice("target_type", self.target_type, ("auto", "number", "class"))

    @staticmethod
    def _check_column(name, option, frame):
        if name not in frame.columns:
            raise KeyError(
                f"TableEncoder: {option} names the column {name!r}, which the table does not have; "
                f"it has {list(frame.columns)}"
            )

    # ------------------------------------------------------------ encoding
    def transform(self, frame) -> Tensor:
        """The features of a DataFrame, the columns by name and in the order that `fit` saw.

        Shape:
            N rows -> (N, F), float32, F as many as `get_feature_names_out()` has

        Raises:
            RuntimeError: before `fit`.
            KeyError: a column is missing.
            ValueError: a value that cannot be encoded; the message names column and value.
        """
        self._check_fitted(frame, "transform", [column.name for column in self._fitted()])
        encoded = [
            part for column in self._columns for part in column.transform(frame[column.name])
        ]
        return wrap(np.stack(encoded, axis=1).astype(np.float32))

    def fit_transform(self, frame) -> Tensor:
        """`fit`, then `transform` of the same DataFrame."""
        return self.fit(frame).transform(frame)

    def transform_target(self, frame) -> Tensor:
        """The target of a DataFrame, as `target_type` says.

        Shape:
            N rows -> (N, 1) float32, or for classes (N,) int64

        Raises:
            RuntimeError: before `fit`, or the encoder has no target.
            ValueError: a missing target, or a class that `fit` has not seen.
        """
        self._fitted()
        if self._target is None:
            raise RuntimeError(
                "TableEncoder has no target: name its column, TableEncoder(target='...')"
            )
        self._check_fitted(frame, "transform_target", [self._target.name])
        return wrap(self._target.transform(frame[self._target.name]))

    def to_dataset(self, frame) -> TensorDataset:
        """Features and target of a DataFrame as a dataset; the features alone without a target."""
        features = self.transform(frame)
        if self._target is None:
            return TensorDataset(features)
        return TensorDataset(features, self.transform_target(frame))

    def get_feature_names_out(self) -> list[str]:
        """The names of the columns of `transform`'s result."""
        return [name for column in self._fitted() for name in column.names()]

    def _fitted(self) -> list:
        try:
            return self._columns
        except AttributeError:
            raise RuntimeError(
                "TableEncoder has not learned any columns yet: call fit(frame) with the training "
                "data"
            ) from None

    def _check_fitted(self, frame, method, names):
        _check_frame(frame, method)
        absent = [name for name in names if name not in frame.columns]
        if absent:
            raise KeyError(
                f"TableEncoder.{method}: the table lacks the columns {absent}, which fit saw; it "
                f"has {list(frame.columns)}"
            )


def _check_frame(frame, method):
    try:
        import pandas
    except ImportError as error:
        raise ImportError("TableEncoder needs pandas: pip install 'danlu[keras]'") from error
    if not isinstance(frame, pandas.DataFrame):
        raise TypeError(
            f"TableEncoder.{method}: expected a pandas DataFrame, got {type(frame).__name__}"
        )
    if not len(frame):
        raise ValueError(f"TableEncoder.{method}: the table has no rows")
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"TableEncoder.{method}: the table has two columns {twice!r}")


def _check_choice(option, value, choices, more=""):
    if value not in choices:
        raise ValueError(
            f"TableEncoder: {option} must be one of {', '.join(map(repr, choices))} {more}".rstrip()
            + f", got {value!r}"
        )
