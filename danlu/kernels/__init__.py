"""Numeric work that is more than a line of array code: convolution, pooling, resampling, recurrent
layers.

Functions here take and return arrays, know nothing of tensors, and find their namespace through
``array.__array_namespace__()``.
"""
