"""What a DataLoader is made of: fetching, collating, worker processes."""

from danlu.utils.data._utils import collate, fetch

__all__ = ["collate", "fetch"]
