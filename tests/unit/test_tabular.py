"""`danlu.tabular`: from a pandas DataFrame to tensors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import danlu
from danlu.tabular import TableEncoder

pandas = pytest.importorskip("pandas")


def passengers():
    """A table like that of the Titanic tutorial."""
    return pandas.DataFrame(
        {
            "PassengerId": [1, 2, 3, 4, 5, 6],
            "Survived": [0, 1, 1, 0, 1, 0],
            "Pclass": [3, 1, 3, 2, 1, 3],
            "Name": [f"Passenger {i}" for i in range(6)],
            "Sex": ["male", "female", "female", "male", "male", "female"],
            "Age": [22.0, 38.0, np.nan, 35.0, np.nan, 2.0],
            "SibSp": [1, 1, 0, 1, 0, 3],
            "Fare": [7.25, 71.28, 7.92, 53.1, 8.05, 21.07],
            "Cabin": [None, "C85", None, "C123", None, None],
            "Embarked": ["S", "C", "S", None, "Q", "S"],
        }
    )


def test_encodes_the_titanic_table_as_the_tutorial_does():
    frame = passengers()
    by_hand = pandas.DataFrame()
    classes = pandas.get_dummies(frame["Pclass"])
    classes.columns = [f"Pclass_{each}" for each in classes.columns]
    sexes = pandas.get_dummies(frame["Sex"])
    sexes.columns = [f"Sex_{each}" for each in sexes.columns]
    by_hand = pandas.concat([by_hand, classes, sexes], axis=1)
    by_hand["Age"] = frame["Age"].fillna(0)
    by_hand["Age_null"] = pandas.isna(frame["Age"]).astype("int32")
    by_hand["SibSp"], by_hand["Fare"] = frame["SibSp"], frame["Fare"]
    by_hand["Cabin_null"] = pandas.isna(frame["Cabin"]).astype("int32")
    ports = pandas.get_dummies(frame["Embarked"], dummy_na=True)
    ports.columns = [f"Embarked_{each}" for each in ports.columns]
    by_hand = pandas.concat([by_hand, ports], axis=1)

    encoder = TableEncoder(
        target="Survived",
        categorical=["Pclass"],
        presence=["Cabin"],
        drop=["PassengerId", "Name"],
        missing=0,
        standardize=False,
    )
    features, labels = encoder.fit(frame).to_dataset(frame).tensors
    assert encoder.get_feature_names_out() == list(by_hand.columns)
    np.testing.assert_array_equal(features.numpy(), by_hand.to_numpy("float32"))
    assert features.dtype == labels.dtype == danlu.float32
    assert labels.tolist() == frame[["Survived"]].to_numpy().tolist()


@pytest.mark.parametrize(
    ("missing", "filled"),
    [
        ("median", 2.0),
        ("mean", 2.4),
        ("most_frequent", 1.0),
        (-1, -1.0),
        ({"a": 9}, 9.0),
        ({}, 2.0),
    ],
)
def test_missing_numbers(missing, filled):
    frame = pandas.DataFrame({"a": [1.0, np.nan, 1.0, 2.0, 3.0, 5.0]})
    encoder = TableEncoder(missing=missing, standardize=False)
    assert encoder.fit_transform(frame)[1].tolist() == pytest.approx([filled, 1.0])


def test_indicators_can_be_left_out_and_later_missing_values_are_filled():
    frame = pandas.DataFrame({"a": [1.0, np.nan, 3.0], "b": [1.0, 2.0, 6.0]})
    encoder = TableEncoder(indicators=False, standardize=False).fit(frame)
    assert encoder.get_feature_names_out() == ["a", "b"]
    later = pandas.DataFrame({"b": [np.nan], "a": [np.nan]})
    assert encoder.transform(later).tolist() == [[2.0, 2.0]]


def test_standardization_uses_the_training_data():
    frame = pandas.DataFrame({"a": [1.0, 2.0, 6.0], "b": [5, 5, 5], "c": [1.0, 2.0, 3.0]})
    encoder = TableEncoder(standardize=["a", "b"]).fit(frame)
    values = encoder.transform(frame).numpy()
    np.testing.assert_allclose(values[:, 0], (frame["a"] - 3) / frame["a"].std(ddof=0), rtol=1e-6)
    assert values[:, 1].tolist() == [0, 0, 0]
    assert values[:, 2].tolist() == [1, 2, 3]
    assert encoder.transform(pandas.DataFrame({"a": [3.0], "b": [6], "c": [0]})).tolist() == [
        [0, 1, 0]
    ]


def test_unknown_categories():
    train = pandas.DataFrame({"kind": ["a", "b", "a"]})
    test = pandas.DataFrame({"kind": ["b", "z"]}, index=["first", "second"])
    assert TableEncoder().fit(train).transform(test).tolist() == [[0, 1], [0, 0]]
    strict = TableEncoder(unknown="error").fit(train)
    with pytest.raises(ValueError, match=r"'kind', row 'second': 'z' is none of .*'a', 'b'"):
        strict.transform(test)


def test_missing_categories():
    frame = pandas.DataFrame({"kind": ["a", None, "b", "b"]})
    own = TableEncoder(unknown="error")
    assert own.fit_transform(frame).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert own.get_feature_names_out() == ["kind_a", "kind_b", "kind_nan"]
    frequent = TableEncoder(missing_category="most_frequent", unknown="error")
    assert frequent.fit_transform(frame).tolist() == [[1, 0], [0, 1], [0, 1], [0, 1]]
    complete = TableEncoder(unknown="error").fit(frame.dropna())
    with pytest.raises(ValueError, match="'kind', row 1: a missing value is none"):
        complete.transform(frame)


def test_column_types_of_pandas():
    frame = pandas.DataFrame(
        {
            "flag": [True, False, True],
            "whole": pandas.array([1, None, 3], dtype="Int64"),
            "kind": pandas.Categorical(["x", "y", "x"]),
            "text": pandas.array(["u", None, "u"], dtype="string"),
            "mixed": ["1", "2", "x"],
        }
    )
    encoder = TableEncoder(standardize=False, drop=["mixed"])
    expected = [[1, 1, 0, 1, 0, 1, 0], [0, 2, 1, 0, 1, 0, 1], [1, 3, 0, 1, 0, 1, 0]]
    assert encoder.fit_transform(frame).tolist() == expected
    names = ["flag", "whole", "whole_null", "kind_x", "kind_y", "text_u", "text_nan"]
    assert encoder.get_feature_names_out() == names


def test_targets():
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0], "y": ["cat", "dog", "cat"], "n": [7, 5, 7]})
    encoder = TableEncoder("y", drop=["n"]).fit(frame)
    assert encoder.classes_ == ["cat", "dog"]
    labels = encoder.transform_target(frame)
    assert labels.dtype == danlu.int64 and labels.tolist() == [0, 1, 0]
    encoder = TableEncoder("n", drop=["y"], target_type="class").fit(frame)
    assert encoder.classes_ == [5, 7] and encoder.transform_target(frame).tolist() == [1, 0, 1]
    number = TableEncoder("n", drop=["y"]).fit(frame)
    assert number.classes_ is None and number.transform_target(frame).shape == (3, 1)
    with pytest.raises(ValueError, match="target 'y', row 0: 'bird' is none of .*'cat', 'dog'"):
        TableEncoder("y").fit(frame).transform_target(frame.assign(y="bird"))
    with pytest.raises(ValueError, match="target 'n', row 1: the value is missing"):
        number.transform_target(frame.assign(n=[1, None, 2]))


def test_dataset_without_target_and_loader():
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0]})
    encoder = TableEncoder().fit(frame)
    assert len(encoder.to_dataset(frame).tensors) == 1
    loader = danlu.utils.data.DataLoader(encoder.to_dataset(frame), batch_size=2)
    assert [len(batch) for (batch,) in loader] == [2, 1]
    with pytest.raises(RuntimeError, match="no target"):
        encoder.transform_target(frame)


def test_survives_pickling():
    frame = passengers()
    encoder = TableEncoder("Survived", drop=["Name"]).fit(frame)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.transform(frame).equal(encoder.transform(frame))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"drop": ["Nmae"]}, KeyError, "drop names the column 'Nmae', which .* does not have"),
        ({"target": "alive"}, KeyError, "target names the column 'alive'"),
        ({"drop": "Name"}, TypeError, r"must be a list of columns: \['Name'\]"),
        (
            {"numeric": ["Age"], "drop": ["Age"]},
            ValueError,
            "'Age' is listed in both numeric and drop",
        ),
        ({"target": "Age", "drop": ["Age"]}, ValueError, "'Age' is the target and listed in drop"),
        (
            {"missing": "zero"},
            ValueError,
            "missing must be one of 'median'.* or a number, got 'zero'",
        ),
        ({"missing": None}, ValueError, "missing must be one of"),
        ({"unknown": "warn"}, ValueError, "unknown must be one of 'ignore', 'error', got 'warn'"),
        ({"numeric": ["Sex"]}, ValueError, "column 'Sex', row 0: 'male' is no number"),
        ({"max_categories": 5}, ValueError, "'Name' has 6 different values such as 'Passenger 0'"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        TableEncoder(**options).fit(passengers())


def test_bad_tables():
    frame = passengers()
    with pytest.raises(TypeError, match="expected a pandas DataFrame, got list"):
        TableEncoder().fit([[1, 2]])
    with pytest.raises(RuntimeError, match="call fit"):
        TableEncoder().transform(frame)
    with pytest.raises(ValueError, match="no rows"):
        TableEncoder().fit(frame[:0])
    with pytest.raises(ValueError, match="two columns 'Age'"):
        TableEncoder().fit(frame[["Age", "Age"]])
    with pytest.raises(KeyError, match=r"lacks the columns \['Sex'\]"):
        TableEncoder().fit(frame[["Age", "Sex"]]).transform(frame[["Age"]])
    with pytest.raises(ValueError, match="column 'Age', row 2: inf is not finite"):
        TableEncoder().fit(frame[["Age"]].fillna(np.inf))
    with pytest.raises(ValueError, match="'Age' has no values at all"):
        TableEncoder().fit(frame[["Age"]] * np.nan)
    with pytest.raises(ValueError, match="'day' holds times"):
        TableEncoder().fit(pandas.DataFrame({"day": pandas.to_datetime(["2020-01-22"])}))
