"""From a pandas DataFrame to tensors.

>>> import pandas
>>> from danlu.tabular import TableEncoder
>>> passengers = pandas.DataFrame(
...     {"Age": [22, None, 38], "Sex": ["m", "f", "f"], "Survived": [0, 1, 1]}
... )
>>> encoder = TableEncoder(target="Survived", standardize=False)
>>> features, labels = encoder.fit(passengers).to_dataset(passengers).tensors
>>> encoder.get_feature_names_out()
['Age', 'Age_null', 'Sex_f', 'Sex_m']
>>> features
tensor([[22.,  0.,  0.,  1.],
        [30.,  1.,  1.,  0.],
        [38.,  0.,  1.,  0.]])
>>> labels
tensor([[0.],
        [1.],
        [1.]])
"""

from danlu.tabular.encoder import TableEncoder

__all__ = ["TableEncoder"]
