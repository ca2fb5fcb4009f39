#!/usr/bin/env python3
"""Write the tables of measurements into the READMEs and docs/kernels.md, from the JSON that benchmarks/run.py wrote.

python benchmarks/run.py --json benchmarks/results.json
python benchmarks/table.py [benchmarks/results.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from run import quantity

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- measurements -->", "<!-- /measurements -->"

# What a reader of the README wants to know, in the two languages.
ROWS = {
    "import_time": ("`import`, in a fresh process", "首次 `import`"),
    "import_and_first_tensor": (
        "`import`, and a first sum of two tensors",
        "`import` 并完成第一次张量相加",
    ),
    "installed_size": ("installed size, with dependencies", "安装体积（含依赖）"),
    "ring_step_sgd_100": (
        "training step of a 2-4-8-1 network, SGD, batch 100",
        "2-4-8-1 网络一步训练，SGD，批量 100",
    ),
    "ring_step_adam_100": ("the same with Adam", "同上，Adam"),
    "loader_epoch": (
        "`DataLoader` epoch, 4000 rows, batch 100, shuffled",
        "`DataLoader` 遍历一轮：4000 行，批量 100，打乱",
    ),
    "fit_epoch": (
        "epoch of `KerasModel.fit` against PyTorch's plain loop, 28 steps",
        "`KerasModel.fit` 一轮，对比 PyTorch 手写循环，28 步",
    ),
    "regression_100000": (
        "full-batch linear regression step, 100,000 rows",
        "全批量线性回归一步，100,000 行",
    ),
    "cubic_step": (
        "cubic regression 1-20-1, 10,000 rows, step",
        "三次曲线回归 1-20-1，10,000 行，一步训练",
    ),
    "mnist_cnn_step": (
        "CNN on MNIST-sized images, batch 128, step",
        "MNIST 尺寸图像的 CNN，批量 128，一步训练",
    ),
    "resnet18_step": (
        "ResNet-18 on 32 x 32 images, batch 64, step",
        "ResNet-18，32 x 32 图像，批量 64，一步训练",
    ),
    "gpt_step": (
        "small GPT, 4 layers, 128 wide, batch 16 of 128 tokens, step",
        "小型 GPT，4 层，宽 128，批量 16 x 128 个词元，一步训练",
    ),
    "add_10": ("adding two tensors of 10 elements", "两个 10 元素张量相加"),
}
LANGUAGES = {"README.md": 0, "README.zh-CN.md": 1}
HEADS = ("| | danlu | PyTorch | ratio |", "| | danlu | PyTorch | 比值 |")
NOTES = (
    "Medians of {rounds} rounds that alternate between the two, {threads} threads, {processor}, "
    "Python {python}, PyTorch {torch}, NumPy {numpy}; {date}, `python benchmarks/run.py`.",
    "两者交替计时 {rounds} 轮取中位数；{threads} 线程，{processor}，Python {python}，"
    "PyTorch {torch}，NumPy {numpy}；{date}，`python benchmarks/run.py`。",
)


def table(report: dict, language: int) -> str:
    """The measurements as a Markdown table, with a line that says how they were made."""
    lines = [HEADS[language], "| --- | ---: | ---: | ---: |"]
    for name, labels in ROWS.items():
        result = report["results"].get(name)
        if result is None or "error" in result:
            continue
        ours, theirs = (quantity(result[side], result["unit"]) for side in ("danlu", "torch"))
        lines.append(f"| {labels[language]} | {ours} | {theirs} | {result['ratio']:.2f} |")
    return "\n".join([*lines, "", described(report, language)])


def promises(report: dict) -> str:
    """Everything that was measured, with the ratio that the project asks for."""
    lines = [
        "| work | danlu | PyTorch | ratio | at most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for result in report["results"].values():
        if "error" in result or result.get("against", "torch") != "torch":
            continue
        ours, theirs = (quantity(result[side], result["unit"]) for side in ("danlu", "torch"))
        limit = result.get("at_most")
        asked = "" if limit is None else f"{limit:.2f}"
        lines.append(f"| {result['label']} | {ours} | {theirs} | {result['ratio']:.2f} | {asked} |")
    return "\n".join([*lines, "", described(report, 0)])


def described(report: dict, language: int) -> str:
    """A line that says how the measurements were made."""
    return NOTES[language].format(
        rounds=report["rounds"],
        threads=report["threads"],
        processor=report["machine"]["processor"],
        date=report["date"],
        **report["versions"],
    )


def replaced(text: str, content: str) -> str:
    """`text` with `content` between the two markers."""
    before, marker, rest = text.partition(BEGIN)
    _, end_marker, after = rest.partition(END)
    if not marker or not end_marker:
        raise ValueError(f"the markers {BEGIN} and {END} are missing")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmarks" / "results.json"
    report = json.loads(source.read_text(encoding="utf-8"))
    tables = {name: table(report, language) for name, language in LANGUAGES.items()}
    tables["docs/kernels.md"] = promises(report)
    for name, content in tables.items():
        path = ROOT / name
        path.write_text(replaced(path.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
