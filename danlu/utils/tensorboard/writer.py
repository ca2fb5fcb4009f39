"""``SummaryWriter``: the methods with which a program logs for TensorBoard."""

from __future__ import annotations

import os
import time

from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from danlu.utils.tensorboard import summary
from danlu.utils.tensorboard.arrays import figure_to_pixels, figures_to_pixels
from danlu.utils.tensorboard.event_file import FileWriter

__all__ = ["SummaryWriter"]


class SummaryWriter:
    """Logs scalars, histograms, pictures, text, graphs and more for TensorBoard.

    ``tensorboard --logdir runs`` shows what was written, one run per folder. Every ``add`` method
    takes a tag, which names the series ("loss/train" is shown in the group "loss"), and most take
    ``global_step``, the number of the training step, and ``walltime``, the seconds since 1970 to
    record instead of the present.

    Args:
        log_dir: the folder of this run. Default: ``runs/`` and date, time and host name
        comment: goes to the end of the default folder's name.
        purge_step: TensorBoard hides what was logged earlier in this folder at this step or later;
            for a run that goes on after a crash.
        max_queue: how many events may wait for the disk until an ``add`` waits too. Default: 10
        flush_secs: after how many seconds at most they are on the disk. Default: 120
        filename_suffix: what the names of the event files end with.

    Raises:
        ImportError: the package tensorboard is missing.

    Example:
        >>> import os, tempfile
        >>> from danlu.utils.tensorboard import SummaryWriter
        >>> folder = tempfile.mkdtemp()
        >>> with SummaryWriter(folder) as writer:
        ...     for step in range(3):
        ...         writer.add_scalar("loss", 1 / (step + 1), step)
        >>> [name.startswith("events.out.tfevents") for name in os.listdir(folder)]
        [True]
    """

    def __init__(
        self,
        log_dir=None,
        comment="",
        purge_step=None,
        max_queue=10,
        flush_secs=120,
        filename_suffix="",
    ):
        self.log_dir = os.fspath(log_dir) if log_dir else _default_log_dir(comment)
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self.file_writer = self.all_writers = None
        self._projector_config = None
        self._get_file_writer()

    def _get_file_writer(self) -> FileWriter:
        """The writer of the run's own file; a new one after `close()`."""
        if self.file_writer is None:
            self.file_writer = self._open(self.log_dir)
            self.all_writers = {self.log_dir: self.file_writer}
            if self.purge_step is not None:
                restart = SessionLog(status=SessionLog.START)
                version = "brain.Event:2"
                self.file_writer.add_event(Event(step=self.purge_step, file_version=version))
                self.file_writer.add_event(Event(step=self.purge_step, session_log=restart))
                self.purge_step = None
        return self.file_writer

    def _open(self, log_dir) -> FileWriter:
        return FileWriter(log_dir, self.max_queue, self.flush_secs, self.filename_suffix)

    def _add(self, record, global_step=None, walltime=None) -> None:
        self._get_file_writer().add_summary(record, global_step, walltime)

    def get_logdir(self) -> str:
        """The folder of this run."""
        return self.log_dir

    # ------------------------------------------------------------ numbers
    def add_scalar(
        self,
        tag,
        scalar_value,
        global_step=None,
        walltime=None,
        new_style=False,
        double_precision=False,
    ) -> None:
        """Log one number.

        Args:
            scalar_value: a number, or a tensor or array of one element.
            new_style: write it as a tensor, TensorBoard's newer form. Default: False
            double_precision: in the new form, as float64. Default: False

        Raises:
            AssertionError: more than one element.
            TypeError: a tag that is no string.
            NotImplementedError: a value of another type.
        """
        record = summary.scalar(tag, scalar_value, new_style, double_precision)
        self._add(record, global_step, walltime)

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None) -> None:
        """Log several numbers that one chart shows together.

        Every entry becomes a run of its own, in the folder ``<log_dir>/<main_tag>_<entry>``.

        Args:
            tag_scalar_dict: {name: number}
        """
        summary.checked_tag(main_tag, "add_scalars")
        if not isinstance(tag_scalar_dict, dict):
            raise TypeError(
                f"add_scalars({main_tag!r}, ...): expected a dict of numbers such as "
                f"{{'train': 0.5}}, got {type(tag_scalar_dict).__name__}; one number goes to "
                "add_scalar"
            )
        walltime = time.time() if walltime is None else walltime
        self._get_file_writer()
        for name, value in tag_scalar_dict.items():
            summary.checked_tag(name, f"add_scalars({main_tag!r}, ...)")
            run = f"{self.log_dir}/{main_tag.replace('/', '_')}_{name}"
            if run not in self.all_writers:
                self.all_writers[run] = self._open(run)
            record = summary.scalar(main_tag, value)
            self.all_writers[run].add_summary(record, global_step, walltime)

    def add_tensor(self, tag, tensor, global_step=None, walltime=None) -> None:
        """Log a whole tensor, to be read back by programs."""
        self._add(summary.tensor_proto(tag, tensor), global_step, walltime)

    def add_histogram(
        self, tag, values, global_step=None, bins="tensorflow", walltime=None, max_bins=None
    ) -> None:
        """Log how the values of a tensor are distributed.

        Args:
            values: a tensor or array of any shape.
            bins: "tensorflow" (edges that grow by a tenth, on both sides of 0; the default), or
                what ``numpy.histogram`` takes: "auto", a number, edges.
            max_bins: join neighbouring bins until there are about this many.

        Raises:
            ValueError: no values, or none that lies in a bin.

        Example:
            >>> import tempfile, danlu as torch
            >>> from danlu.utils.tensorboard import SummaryWriter
            >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
            ...     writer.add_histogram("weight", torch.randn(100, 20), 0)
        """
        self._add(summary.histogram(tag, values, bins, max_bins), global_step, walltime)

    def add_histogram_raw(
        self,
        tag,
        min,
        max,
        num,
        sum,
        sum_squares,
        bucket_limits,
        bucket_counts,
        global_step=None,
        walltime=None,
    ) -> None:
        """Log a histogram that is already counted.

        Args:
            min, max, num, sum, sum_squares: of the values.
            bucket_limits: the right edge of every bucket.
            bucket_counts: how many values every bucket holds.

        Raises:
            ValueError: not as many limits as counts.
        """
        record = summary.histogram_raw(
            tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts
        )
        self._add(record, global_step, walltime)

    # ------------------------------------------------------------ pictures, sound, text
    def add_image(
        self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"
    ) -> None:
        """Log a picture.

        Args:
            img_tensor: floats from 0 to 1, or bytes from 0 to 255.
            dataformats: the order of the axes: "CHW" (the default), "HWC", "HW", ...

        Shape:
            img_tensor: (C, H, W) with C of 1, 3 or 4, or as `dataformats` says

        Raises:
            AssertionError: axes or channels that make no picture.

        Example:
            >>> import tempfile, danlu as torch
            >>> from danlu.utils.tensorboard import SummaryWriter
            >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
            ...     writer.add_image("noise", torch.rand(3, 32, 32))
            ...     writer.add_image("grey", torch.rand(32, 32), dataformats="HW")
        """
        self._add(summary.image(tag, img_tensor, dataformats), global_step, walltime)

    def add_images(
        self, tag, img_tensor, global_step=None, walltime=None, dataformats="NCHW"
    ) -> None:
        """Log a batch of pictures as one, eight in a row.

        Shape:
            img_tensor: (N, C, H, W) with C of 1 or 3, or as `dataformats` says
        """
        self._add(summary.image(tag, img_tensor, dataformats), global_step, walltime)

    def add_figure(self, tag, figure, global_step=None, close=True, walltime=None) -> None:
        """Log a matplotlib figure, or a list of them, as a picture.

        Args:
            close: also close the figure. Default: True
        """
        if isinstance(figure, list):
            self.add_images(tag, figures_to_pixels(figure, close), global_step, walltime)
        else:
            self.add_image(tag, figure_to_pixels(figure, close), global_step, walltime)

    def add_audio(
        self, tag, snd_tensor, global_step=None, sample_rate=44100, walltime=None
    ) -> None:
        """Log one channel of sound.

        Args:
            snd_tensor: samples between -1 and 1.
            sample_rate: samples a second. Default: 44100

        Shape:
            snd_tensor: (1, L) or (L,)
        """
        self._add(summary.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    def add_text(self, tag, text_string, global_step=None, walltime=None) -> None:
        """Log a text, which TensorBoard shows as Markdown."""
        self._add(summary.text(tag, text_string), global_step, walltime)

    # ------------------------------------------------------------ models and experiments
    def add_graph(self, model, input_to_model=None, verbose=False, use_strict_trace=True) -> None:
        """Log the graph of a model: its modules, the operators in them and what flows between.

        The model runs once, in evaluation mode; every module becomes a group of nodes.

        Args:
            model: a Module.
            input_to_model: a tensor, or a tuple of the arguments of ``model.forward``.
            verbose: also print the nodes. Default: False
            use_strict_trace: without effect here: lists and dicts can always be outputs.

        Raises:
            TypeError: `model` is no Module.
            ValueError: no `input_to_model`.

        Example:
            >>> import tempfile, danlu as torch
            >>> from danlu.utils.tensorboard import SummaryWriter
            >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
            ...     writer.add_graph(torch.nn.Linear(3, 1), torch.rand(4, 3))
        """
        from danlu.utils.tensorboard.graph import graph

        self._get_file_writer().add_graph(graph(model, input_to_model, verbose))

    def add_hparams(
        self,
        hparam_dict,
        metric_dict,
        hparam_domain_discrete=None,
        run_name=None,
        global_step=None,
    ) -> None:
        """Log a run's hyperparameters and what it reached, for the table that compares runs.

        Args:
            hparam_dict: {name: int, float, str, bool or None}
            metric_dict: {tag: number}; tags that ``add_scalar`` has not used.
            hparam_domain_discrete: {name: the list of all values it can have}
            run_name: the folder inside ``log_dir``. Default: the time

        Raises:
            TypeError: no dicts, or a domain of another type than its hyperparameter.
            ValueError: a hyperparameter of another type.
        """
        records = summary.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        folder = os.path.join(self._get_file_writer().get_logdir(), run_name or str(time.time()))
        with SummaryWriter(folder) as writer:
            for record in records:
                writer._add(record, global_step)
            for tag, value in metric_dict.items():
                writer.add_scalar(tag, value, global_step)

    def add_embedding(
        self,
        mat,
        metadata=None,
        label_img=None,
        global_step=None,
        tag="default",
        metadata_header=None,
    ) -> None:
        """Log points of many dimensions for the projector.

        Args:
            mat: one row per point.
            metadata: a label per point, or a row of labels where `metadata_header` is given.
            label_img: a picture per point.
            metadata_header: the names of the columns of `metadata`.

        Shape:
            mat: (N, D); label_img: (N, C, H, W)

        Raises:
            AssertionError: `mat` is not 2-D, or not as many labels or pictures as points.
        """
        from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

        from danlu.utils.tensorboard.embedding import write_config, write_embedding

        summary.checked_tag(tag, "add_embedding")
        log_dir = self._get_file_writer().get_logdir()
        info = write_embedding(log_dir, mat, metadata, label_img, global_step, tag, metadata_header)
        if self._projector_config is None:
            self._projector_config = ProjectorConfig()
        self._projector_config.embeddings.append(info)
        write_config(log_dir, self._projector_config)

    def add_pr_curve(
        self,
        tag,
        labels,
        predictions,
        global_step=None,
        num_thresholds=127,
        weights=None,
        walltime=None,
    ) -> None:
        """Log precision and recall at evenly spaced thresholds.

        Args:
            labels: the truth, 0 or 1.
            predictions: the probability of 1, from 0 to 1.
            num_thresholds: at most 127, the default.
            weights: of the samples.

        Raises:
            ValueError: labels and predictions of different shapes.
        """
        record = summary.pr_curve(tag, labels, predictions, num_thresholds, weights)
        self._add(record, global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag,
        true_positive_counts,
        false_positive_counts,
        true_negative_counts,
        false_negative_counts,
        precision,
        recall,
        global_step=None,
        num_thresholds=127,
        weights=None,
        walltime=None,
    ) -> None:
        """Log precision and recall that are already counted, one entry per threshold.

        Args:
            weights: without effect; the counts contain them.
        """
        record = summary.pr_curve_raw(
            tag,
            true_positive_counts,
            false_positive_counts,
            true_negative_counts,
            false_negative_counts,
            precision,
            recall,
            num_thresholds,
        )
        self._add(record, global_step, walltime)

    # ------------------------------------------------------------ charts of several series
    def add_custom_scalars(self, layout) -> None:
        """Say which series the page of custom scalars shows together; once per writer.

        Args:
            layout: {category: {chart: [kind, tags]}}. Kind "Multiline" takes any number of tags,
                "Margin" three: the value, its lower and its upper bound.

        Example:
            >>> import tempfile
            >>> from danlu.utils.tensorboard import SummaryWriter
            >>> with SummaryWriter(tempfile.mkdtemp()) as writer:
            ...     charts = {"both": ["Multiline", ["loss/train", "loss/val"]]}
            ...     writer.add_custom_scalars({"loss": charts})
        """
        self._add(summary.custom_scalars(layout))

    def add_custom_scalars_multilinechart(self, tags, category="default", title="untitled") -> None:
        """A page of custom scalars with a single chart of several series."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags, category="default", title="untitled") -> None:
        """A page of custom scalars with a single chart of a value and its bounds, three tags."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    # ------------------------------------------------------------ files
    def flush(self) -> None:
        """Put everything that was logged on the disk."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Put everything on the disk and close the files; the next ``add`` opens new ones."""
        for writer in (self.all_writers or {}).values():
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _default_log_dir(comment) -> str:
    import socket

    started = time.strftime("%b%d_%H-%M-%S")
    return os.path.join("runs", f"{started}_{socket.gethostname()}{comment}")
