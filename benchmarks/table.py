#!/usr/bin/env python3
"""Write the tables of measurements into the READMEs, docs/kernels.md and docs/compile.md, from the
JSON that benchmarks/run.py wrote.

python benchmarks/run.py --json benchmarks/results.json
python benchmarks/table.py [benchmarks/results.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from run import AGAINST_JAX, COMPILE_TIMES, COMPILED_PEAKS, quantity

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
    "compiled_ring_step_adam_100": (
        "the same, compiled by `danlu.compile`",
        "同上，经 `danlu.compile` 编译",
    ),
    "loader_epoch": (
        "`DataLoader` epoch, 4000 rows, batch 100, shuffled",
        "`DataLoader` 遍历一轮：4000 行，批量 100，打乱",
    ),
    "fit_epoch": (
        "epoch of `KerasModel.fit` against PyTorch's plain loop, 28 steps",
        "`KerasModel.fit` 一轮，对比 PyTorch 手写循环，28 步",
    ),
    "compiled_fit_epoch": ("the same, compiled", "同上，编译后"),
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
        ours, theirs = measured(result)
        lines.append(f"| {labels[language]} | {ours} | {theirs} | {result['ratio']:.2f} |")
    return "\n".join([*lines, "", described(report, language)])


def promises(report: dict) -> str:
    """What was measured eagerly, with the ratio that the project asks for."""
    lines = [
        "| work | danlu | PyTorch | ratio | at most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, result in report["results"].items():
        if "error" in result or result.get("against") != "torch" or name.startswith("compiled_"):
            continue
        ours, theirs = measured(result)
        lines.append(
            f"| {result['label']} | {ours} | {theirs} | {result['ratio']:.2f} | {asked(result)} |"
        )
    return "\n".join([*lines, "", described(report, 0)])


def compiled(report: dict) -> str:
    """What was measured of compiled code: against PyTorch and JAX, the time that compiling takes, and
    memory."""
    results = {name: each for name, each in report["results"].items() if "error" not in each}
    lines = [
        "| work | compiled | eager | PyTorch | compiled to PyTorch | at most |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, result in results.items():
        if not name.startswith("compiled_") or result.get("against") != "torch":
            continue
        eager = results.get(name.removeprefix("compiled_"))
        slower = "" if eager is None else measured(eager)[0]
        ours, theirs = measured(result)
        lines.append(
            f"| {result['label'].removesuffix(', compiled')} | {ours} | {slower} | {theirs} | "
            f"{result['ratio']:.3f} | {asked(result)} |"
        )
    against_jax = [results[name] for name in AGAINST_JAX if name in results]
    if against_jax:
        lines += ["", *compared(against_jax, "compiled", f"JAX {report['versions']['jax']}")]
    times = [compile_time(results, case) for case in COMPILE_TIMES]
    if any(times):
        lines += [
            "",
            "| compiling | empty cache | at most | full cache | at most |",
            "| --- | ---: | ---: | ---: | ---: |",
            *filter(None, times),
        ]
    peaks = [results.get(f"compiled_{case}_peak") for case in COMPILED_PEAKS]
    if any(peaks):
        lines += ["", *compared(filter(None, peaks), "compiled", "eager")]
    return "\n".join([*lines, "", described(report, 0)])


def compared(results, ours: str, other: str) -> list[str]:
    """Lines of a table of danlu's measurements and their rival's."""
    lines = [
        f"| work | {ours} | {other} | ratio | at most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for result in results:
        own, others = measured(result)
        lines.append(
            f"| {result['label']} | {own} | {others} | {result['ratio']:.2f} | {asked(result)} |"
        )
    return lines


def compile_time(results: dict, case: str) -> str | None:
    """A line of the table of compile times, None where they were not measured."""
    found = [results.get(f"{case}_compile_{state}") for state in ("cold", "warm")]
    if not all(found):
        return None
    columns = []
    for result in found:
        limit = result["at_most"]
        columns += [quantity(result["danlu"], "s"), "" if limit is None else quantity(limit, "s")]
    return f"| {found[0]['label']} | {' | '.join(columns)} |"


def measured(result: dict) -> tuple[str, str]:
    """The two measurements of a comparison, in their unit."""
    rival = result.get("torch", result.get("reference"))
    return quantity(result["danlu"], result["unit"]), quantity(rival, result["unit"])


def asked(result: dict) -> str:
    """The ratio that the project asks for; empty where it asks for none."""
    return "" if result["at_most"] is None else f"{result['at_most']:.2f}"


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
    tables["docs/compile.md"] = compiled(report)
    for name, content in tables.items():
        path = ROOT / name
        path.write_text(replaced(path.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
