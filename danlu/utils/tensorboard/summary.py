"""The records of an event file: one function per kind makes TensorBoard's own ``Summary``."""

from __future__ import annotations

import functools
import warnings

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.util import tensor_util

from danlu.utils.tensorboard.arrays import as_array, encode_image, encode_wave, to_pixels

__all__ = [
    "audio", "custom_scalars", "histogram", "histogram_raw", "hparams", "image", "pr_curve",
    "pr_curve_raw", "scalar", "tensor_proto", "text",
]  # fmt: skip

# TensorBoard reads at most this many thresholds of a precision-recall curve.
MOST_THRESHOLDS = 127


def checked_tag(tag, where: str) -> str:
    """The tag, if it can be one.

    Raises:
        TypeError: the tag is no string.
        ValueError: the tag is empty.
    """
    if not isinstance(tag, str):
        raise TypeError(
            f"{where}: tag must be a str such as 'loss/train', got {type(tag).__name__} ({tag!r})"
        )
    if not tag:
        raise ValueError(f"{where}: tag is empty; give the series a name such as 'loss/train'")
    return tag


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    data = SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return SummaryMetadata(plugin_data=data)


def _summary(tag: str, plugin: str = "", content: bytes = b"", **value) -> Summary:
    if plugin:
        value["metadata"] = _metadata(plugin, content)
    return Summary(value=[Summary.Value(tag=tag, **value)])


# ---------------------------------------------------------------- numbers
def scalar(tag, value, new_style=False, double_precision=False) -> Summary:
    """One number."""
    where = f"add_scalar({tag!r}, ...)"
    checked_tag(tag, "add_scalar")
    array = as_array(value, where)
    if array.size != 1:
        raise AssertionError(
            f"{where}: one number is expected, got {array.size} in shape {list(array.shape)}: "
            "log value.mean(), or all of them with add_histogram"
        )
    try:
        number = float(array.item())
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{where}: cannot log {array.item()!r} as a number; text goes to add_text"
        ) from None
    if not new_style:
        return _summary(tag, simple_value=number)
    kind = np.float64 if double_precision else np.float32
    proto = tensor_util.make_tensor_proto(number, dtype=kind)
    return _summary(tag, "scalars", tensor=proto)


def tensor_proto(tag, value) -> Summary:
    """A whole tensor, of any shape."""
    checked_tag(tag, "add_tensor")
    array = as_array(value, f"add_tensor({tag!r}, ...)")
    return _summary(tag, "tensor", tensor=tensor_util.make_tensor_proto(array))


# ---------------------------------------------------------------- histograms
@functools.cache
def default_bins() -> np.ndarray:
    """Edges that grow by a tenth from 1e-12 to 1e20, on both sides of 0."""
    edges = []
    edge = 1e-12
    while edge < 1e20:
        edges.append(edge)
        edge *= 1.1
    return np.array([*(-each for each in reversed(edges)), 0.0, *edges])


def histogram(tag, values, bins="tensorflow", max_bins=None) -> Summary:
    """How often which values occur.

    Args:
        bins: "tensorflow" for edges that grow by a tenth, or what `numpy.histogram` takes.
        max_bins: join neighbouring bins until there are about this many.
    """
    where = f"add_histogram({tag!r}, ...)"
    checked_tag(tag, "add_histogram")
    values = as_array(values, where).astype(np.float64).reshape(-1)
    if values.size == 0:
        raise ValueError(f"{where}: The input has no element.")
    counts, edges = np.histogram(values, default_bins() if _is_default(bins) else bins)
    if max_bins is not None and len(counts) > max_bins:
        step = len(counts) // max_bins
        counts = np.add.reduceat(counts, np.arange(0, len(counts), step))
        edges = np.append(edges[:-1:step], edges[-1])
    filled = np.flatnonzero(counts)
    if not filled.size:
        raise ValueError(
            f"{where}: none of the {values.size} values lies in a bin; they run from "
            f"{values.min()} to {values.max()}, the bins from {edges[0]} to {edges[-1]}"
        )
    first, last = filled[0], filled[-1]
    # A bucket is known by its right edge alone: an empty one before the first keeps its left edge.
    return histogram_raw(
        tag, values.min(), values.max(), values.size, values.sum(), values @ values,
        edges[first : last + 2], [0, *counts[first : last + 1]],
    )  # fmt: skip


def _is_default(bins) -> bool:
    return isinstance(bins, str) and bins == "tensorflow"


def histogram_raw(tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts) -> Summary:
    """A histogram whose counts are already known; a bucket's limit is its right edge."""
    checked_tag(tag, "add_histogram_raw")
    if len(bucket_limits) != len(bucket_counts):
        raise ValueError(
            f"add_histogram_raw({tag!r}, ...): every bucket has one count and one limit, its right "
            f"edge; got {len(bucket_limits)} bucket_limits and {len(bucket_counts)} bucket_counts"
        )
    proto = HistogramProto(
        min=min, max=max, num=num, sum=sum, sum_squares=sum_squares,
        bucket_limit=_floats(bucket_limits), bucket=_floats(bucket_counts),
    )  # fmt: skip
    return _summary(tag, histo=proto)


def _floats(values) -> list:
    return [float(value) for value in values]


# ---------------------------------------------------------------- pictures, sound, text
def image(tag, value, dataformats="CHW") -> Summary:
    """One picture, or a batch of pictures side by side."""
    method = "add_images" if "N" in dataformats.upper() else "add_image"
    checked_tag(tag, method)
    pixels = to_pixels(value, dataformats, f"{method}({tag!r}, ...)")
    height, width, channels = pixels.shape
    proto = Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=encode_image(pixels)
    )
    return _summary(tag, image=proto)


def audio(tag, value, sample_rate=44100) -> Summary:
    """One channel of sound, samples between -1 and 1."""
    where = f"add_audio({tag!r}, ...)"
    checked_tag(tag, "add_audio")
    samples = as_array(value, where).squeeze()
    if samples.ndim != 1:
        raise AssertionError(
            f"{where}: one channel (L,) or (1, L) is expected, got shape {list(np.shape(value))}"
        )
    if np.abs(samples).max(initial=0) > 1:
        warnings.warn(f"{where}: samples beyond -1 and 1 are clipped", stacklevel=3)
        samples = samples.clip(-1, 1)
    proto = Summary.Audio(
        sample_rate=sample_rate, num_channels=1, length_frames=len(samples),
        encoded_audio_string=encode_wave(samples, sample_rate), content_type="audio/wav",
    )  # fmt: skip
    return _summary(tag, audio=proto)


def text(tag, value) -> Summary:
    """A text, which TensorBoard shows as Markdown."""
    from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

    checked_tag(tag, "add_text")
    if not isinstance(value, str):
        raise TypeError(
            f"add_text({tag!r}, ...): expected a str, got {type(value).__name__}: write str(value)"
        )
    proto = tensor_util.make_tensor_proto([value.encode()])
    content = TextPluginData(version=0).SerializeToString()
    return _summary(f"{tag}/text_summary", "text", content, tensor=proto)


# ---------------------------------------------------------------- precision and recall
def pr_curve(tag, labels, predictions, num_thresholds=MOST_THRESHOLDS, weights=None) -> Summary:
    """Precision and recall at evenly spaced thresholds between 0 and 1."""
    where = f"add_pr_curve({tag!r}, ...)"
    labels, predictions = as_array(labels, where), as_array(predictions, where)
    if labels.shape != predictions.shape:
        raise ValueError(
            f"{where}: labels and predictions must have one shape, got {list(labels.shape)} and "
            f"{list(predictions.shape)}"
        )
    thresholds = min(num_thresholds, MOST_THRESHOLDS)
    weights = np.ones(labels.shape) if weights is None else as_array(weights, where)
    counts = _pr_counts(labels, predictions, thresholds, weights, where)
    return _pr_record(tag, counts, thresholds)


def _pr_counts(labels, predictions, thresholds, weights, where):
    valid = (predictions >= 0) & (predictions <= 1)
    if not valid.all():
        warnings.warn(
            f"{where}: {(~valid).sum()} predictions lie outside 0 to 1 and are left out: "
            "apply torch.sigmoid to logits",
            stacklevel=4,
        )
    weights = np.broadcast_to(weights, labels.shape)[valid]
    positive = labels[valid].astype(np.float64) * weights
    bucket = np.floor(predictions[valid] * (thresholds - 1)).astype(np.int64)

    def at_least(counted):
        per_bucket = np.bincount(bucket, counted, minlength=thresholds)
        return per_bucket[::-1].cumsum()[::-1]

    true_positive, false_positive = at_least(positive), at_least(weights - positive)
    false_negative = true_positive[0] - true_positive
    true_negative = false_positive[0] - false_positive
    precision = true_positive / np.maximum(1e-7, true_positive + false_positive)
    recall = true_positive / np.maximum(1e-7, true_positive + false_negative)
    return true_positive, false_positive, true_negative, false_negative, precision, recall


def pr_curve_raw(
    tag, true_positive, false_positive, true_negative, false_negative, precision, recall,
    num_thresholds=MOST_THRESHOLDS,
) -> Summary:  # fmt: skip
    """The same from counts that are already known, one per threshold."""
    where = f"add_pr_curve_raw({tag!r}, ...)"
    counts = (true_positive, false_positive, true_negative, false_negative, precision, recall)
    return _pr_record(tag, [as_array(each, where) for each in counts], num_thresholds)


def _pr_record(tag, counts, num_thresholds) -> Summary:
    from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

    checked_tag(tag, "add_pr_curve")
    content = PrCurvePluginData(version=0, num_thresholds=min(num_thresholds, MOST_THRESHOLDS))
    proto = tensor_util.make_tensor_proto(np.stack(counts).astype(np.float32))
    return _summary(tag, "pr_curves", content.SerializeToString(), tensor=proto)


# ---------------------------------------------------------------- layouts and hyperparameters
def custom_scalars(layout) -> Summary:
    """Charts that show several series together: {category: {chart: [kind, tags]}}."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    categories = []
    for title, charts in layout.items():
        made = []
        for chart, (kind, tags) in charts.items():
            if kind == "Margin":
                if len(tags) != 3:
                    raise AssertionError(
                        f"custom scalars, chart {chart!r}: a Margin chart has three tags (value, "
                        f"lower, upper), got {len(tags)}"
                    )
                series = layout_pb2.MarginChartContent.Series(
                    value=tags[0], lower=tags[1], upper=tags[2]
                )
                content = {"margin": layout_pb2.MarginChartContent(series=[series])}
            elif kind == "Multiline":
                content = {"multiline": layout_pb2.MultilineChartContent(tag=tags)}
            else:
                raise ValueError(
                    f"custom scalars, chart {chart!r}: the kind is 'Multiline' or 'Margin', got "
                    f"{kind!r}"
                )
            made.append(layout_pb2.Chart(title=chart, **content))
        categories.append(layout_pb2.Category(title=title, chart=made))
    page = layout_pb2.Layout(category=categories).SerializeToString()
    proto = tensor_util.make_tensor_proto(page)
    return _summary("custom_scalars__config__", "custom_scalars", tensor=proto)


def hparams(hparam_dict, metric_dict, hparam_domain_discrete=None) -> tuple[Summary, ...]:
    """The three records of a run that is compared by its hyperparameters."""
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams import plugin_data_pb2 as data

    domains = _checked_domains(hparam_dict, metric_dict, hparam_domain_discrete)
    start = data.SessionStartInfo()
    infos = []
    for name, value in hparam_dict.items():
        if value is None:
            continue
        kind, field, value = _hparam(name, value)
        setattr(start.hparams[name], field, value)
        info = api_pb2.HParamInfo(name=name, type=api_pb2.DataType.Value(kind))
        if name in domains:
            info.domain_discrete.extend(domains[name])
        infos.append(info)
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name)) for name in metric_dict]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    end = data.SessionEndInfo(status=api_pb2.Status.Value("STATUS_SUCCESS"))
    records = (
        (metadata.EXPERIMENT_TAG, {"experiment": experiment}),
        (metadata.SESSION_START_INFO_TAG, {"session_start_info": start}),
        (metadata.SESSION_END_INFO_TAG, {"session_end_info": end}),
    )
    version = metadata.PLUGIN_DATA_VERSION
    return tuple(
        _summary(
            tag,
            metadata.PLUGIN_NAME,
            data.HParamsPluginData(version=version, **content).SerializeToString(),
        )
        for tag, content in records
    )


def _checked_domains(hparam_dict, metric_dict, domains) -> dict:
    given = (("hparam_dict", hparam_dict), ("metric_dict", metric_dict))
    for name, value in (*given, ("hparam_domain_discrete", domains or {})):
        if not isinstance(value, dict):
            raise TypeError(f"add_hparams: {name} must be a dict, got {type(value).__name__}")
    for name, values in (domains or {}).items():
        if name not in hparam_dict:
            raise TypeError(
                f"add_hparams: hparam_domain_discrete[{name!r}] names no hyperparameter"
            )
        kind = type(hparam_dict[name])
        if not isinstance(values, list) or not all(isinstance(each, kind) for each in values):
            raise TypeError(
                f"add_hparams: hparam_domain_discrete[{name!r}] must be a list of {kind.__name__}, "
                f"as hparam_dict[{name!r}] is one; got {values!r}"
            )
    return domains or {}


def _hparam(name, value) -> tuple:
    """TensorBoard's type, the field and the value of a hyperparameter; bools count as numbers."""
    if isinstance(value, str):
        return "DATA_TYPE_STRING", "string_value", value
    if not isinstance(value, (int, float)):
        try:
            value = as_array(value, "add_hparams").item()
        except (NotImplementedError, ValueError):
            raise ValueError(
                f"add_hparams: {name!r} must be an int, float, str, bool, None or a tensor of one "
                f"element, got {type(value).__name__}"
            ) from None
    return "DATA_TYPE_FLOAT64", "number_value", value
