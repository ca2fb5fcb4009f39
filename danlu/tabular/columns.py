"""What a column of a table becomes: one class per role, with what it learned from the data."""

from __future__ import annotations

import numpy as np

__all__ = ["CategoryColumn", "NumberColumn", "PresenceColumn", "TargetColumn", "numbers_of"]


def _row_of(series, where) -> str:
    """The first row where the mask holds, as its index names it."""
    return f"row {series.index[np.argmax(np.asarray(where))]!r}"


def numbers_of(series, name) -> np.ndarray:
    """The column as float64, missing values as NaN.

    Raises:
        ValueError: a value that is no number, or infinite.
    """
    import pandas

    numbers = pandas.to_numeric(series, errors="coerce")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.isnan(values) & ~series.isna().to_numpy()
    if wrong.any():
        raise ValueError(
            f"column {name!r}, {_row_of(series, wrong)}: {series[wrong].iloc[0]!r} is no number: "
            "list the column in categorical=, or repair the value"
        )
    infinite = np.isinf(values)
    if infinite.any():
        raise ValueError(
            f"column {name!r}, {_row_of(series, infinite)}: {values[infinite][0]} is not finite: "
            "replace it by a number, or by NaN for missing"
        )
    return values


class NumberColumn:
    """A number: missing values filled and marked, and standardized if asked."""

    def __init__(self, name, fill, indicator, standardize):
        self.name, self.fill = name, fill
        self.indicator, self.standardize = indicator, standardize

    def fit(self, series):
        values = numbers_of(series, self.name)
        known = values[~np.isnan(values)]
        self.marked = self.indicator and len(known) < len(values)
        self.replacement = self._replacement(known)
        filled = np.where(np.isnan(values), self.replacement, values)
        self.mean, self.scale = 0.0, 1.0
        if self.standardize:
            self.mean = filled.mean()
            self.scale = filled.std() or 1.0  # a constant column becomes zeros
        return self

    def _replacement(self, known) -> float:
        if not isinstance(self.fill, str):
            return float(self.fill)
        if not len(known):
            raise ValueError(
                f"column {self.name!r} has no values at all, so there is no {self.fill} to fill "
                "in: list it in drop=, or give a number as missing="
            )
        if self.fill == "median":
            return float(np.median(known))
        if self.fill == "mean":
            return float(known.mean())
        found, counts = np.unique(known, return_counts=True)
        return float(found[counts.argmax()])

    def names(self) -> list[str]:
        return [str(self.name), f"{self.name}_null"] if self.marked else [str(self.name)]

    def transform(self, series) -> list:
        values = numbers_of(series, self.name)
        missing = np.isnan(values)
        scaled = (np.where(missing, self.replacement, values) - self.mean) / self.scale
        return [scaled, missing] if self.marked else [scaled]


class CategoryColumn:
    """One of several categories: one column each, 1 where the row has it."""

    def __init__(self, name, fill, unknown, most):
        self.name, self.fill, self.unknown, self.most = name, fill, unknown, most

    def fit(self, series):
        present = series.dropna()
        self.categories = _sorted(present.unique())
        if not self.categories:
            raise ValueError(
                f"column {self.name!r} has no values at all: list it in drop=, or in presence="
            )
        if len(self.categories) > self.most:
            raise ValueError(
                f"column {self.name!r} has {len(self.categories)} different values such as "
                f"{self.categories[0]!r}, more than max_categories={self.most}: list it in drop=, "
                "in presence= to keep whether there is a value, or raise max_categories"
            )
        self.replacement = present.mode().iloc[0] if self.fill == "most_frequent" else None
        self.marked = self.fill == "category" and len(present) < len(series)
        return self

    def names(self) -> list[str]:
        names = [f"{self.name}_{category}" for category in self.categories]
        return [*names, f"{self.name}_nan"] if self.marked else names

    def transform(self, series) -> list:
        if self.replacement is not None:
            series = series.fillna(self.replacement)
        if self.unknown == "error":
            self._refuse_unknown(series)
        flags = [series.isin([category]).to_numpy() for category in self.categories]
        return [*flags, series.isna().to_numpy()] if self.marked else flags

    def _refuse_unknown(self, series):
        strange = ~series.isin(self.categories)
        if self.marked:
            strange &= series.notna()
        if strange.any():
            value = series[strange].iloc[0]
            shown = repr(value) if series[strange].notna().iloc[0] else "a missing value"
            raise ValueError(
                f"column {self.name!r}, {_row_of(series, strange)}: {shown} is none of the "
                f"categories seen by fit: {_some(self.categories)}; unknown='ignore' gives such "
                "rows zeros"
            )


class PresenceColumn:
    """Whether there is a value: 1 where it is missing."""

    def __init__(self, name):
        self.name = name

    def fit(self, series):
        return self

    def names(self) -> list[str]:
        return [f"{self.name}_null"]

    def transform(self, series) -> list:
        return [series.isna().to_numpy()]


class TargetColumn:
    """What is to be predicted: a number, or the number of a class."""

    def __init__(self, name, kind):
        self.name, self.kind = name, kind

    def fit(self, series):
        kind = self.kind
        if kind == "auto":
            kind = "number" if is_numeric(series) else "class"
        self.classes = _sorted(series.dropna().unique()) if kind == "class" else None
        return self

    def transform(self, series) -> np.ndarray:
        """(N, 1) float32, or for classes (N,) int64."""
        missing = series.isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"target {self.name!r}, {_row_of(series, missing)}: the value is missing: drop "
                f"such rows with frame.dropna(subset=[{self.name!r}])"
            )
        if self.classes is None:
            return numbers_of(series, self.name).astype(np.float32)[:, None]
        number_of = {value: i for i, value in enumerate(self.classes)}
        strange = ~series.isin(self.classes)
        if strange.any():
            raise ValueError(
                f"target {self.name!r}, {_row_of(series, strange)}: {series[strange].iloc[0]!r} is "
                f"none of the classes seen by fit: {_some(self.classes)}"
            )
        return series.map(number_of).to_numpy(dtype=np.int64)


def is_numeric(series) -> bool:
    """Whether the column's type is one of numbers or booleans."""
    return series.dtype.kind in "biuf"


def _sorted(values) -> list:
    """In order of size, or of their texts where they are of different types."""
    values = list(values)
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)


def _some(values) -> str:
    shown = ", ".join(map(repr, values[:10]))
    return shown if len(values) <= 10 else f"{shown}, ... ({len(values)} in all)"
