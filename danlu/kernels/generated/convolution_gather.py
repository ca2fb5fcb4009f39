"""Kernels of convolution and of its adjoint: implicit matrix products, without patches in memory.

Lanes run over output channels: a panel of them is what a register tile is wide, and its weights
(after its biases) lie in the order in which tiles read them, `pack`. A task of `gather` takes some
images or rows of one, writes their pixels with all channels together (planes are read in place when
there are few channels), computes panel after panel into scratch memory and turns the results into
planes.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import FLOAT, I32, I64, PTR, VOID
from danlu.kernels.generated.blocks import transposition
from danlu.kernels.generated.convolution_tiles import Tile, call_tiles, offset, tile_functions

__all__ = ["gather_text", "pack_text"]


def pack_text(target: Target, tile: Tile) -> str:
    """Task `panel` writes the biases (zeros without) and the weights of one panel.

    Arguments: weight, bias or null, packed, rank; panels of a group, outputs of a group, floats of
    a group's weights, of a packed panel, step from one output to the next; blocks, step from block
    to block, numbers in a block (contiguous). Number i of block b becomes row
    rank[b * numbers + i].
    """
    f = Function.task()
    arguments, panel, _ = f.parameters
    weight, bias, packed, rank = (f.slot(arguments, n) for n in range(4))
    (panels, outputs, group_floats, panel_floats, output_step, blocks, block_step, numbers) = (
        f.slot(arguments, n, I64) for n in range(4, 12)
    )
    lanes, width = tile.lanes, tile.width
    vector = FLOAT.vector(lanes)
    group, first = panel / panels, panel % panels * width
    count = f.minimum(outputs - first, width)
    place = f.at(packed, panel * panel_floats, FLOAT)
    source = f.at(weight, group * group_floats + first * output_step, FLOAT)
    masks = {n: f.mask_below(count - n, lanes) for n in range(0, width, lanes)}
    biased = f.compare("ne", bias, f.value(0, PTR))
    biases = f.at(bias, group * outputs + first, FLOAT)
    for n, mask in masks.items():
        present = f.select(biased, mask, f.value(0, mask.type))
        f.store(f.masked_load(biases, present, vector, 0, n), place, n)
    rows = f.at(place, width, FLOAT)

    def copied():
        with f.loop(0, blocks) as loop:
            line = f.at(source, loop.index * block_step, FLOAT)
            row = f.at(rows, offset(f, rank, loop.index) * width, FLOAT)
            for n, mask in masks.items():
                f.store(f.masked_load(line, mask, vector, 0, n), row, n)

    def turned():
        with f.loop(0, blocks) as loop:
            f.call(
                "transpose", VOID, f.at(source, loop.index * block_step, FLOAT), output_step,
                rows, f.value(width, I64), count, numbers,
                f.at(rank, loop.index * numbers, I32),
            )  # fmt: skip

    f.either(f.compare("eq", output_step, 1), copied, turned)
    f.ret()
    return Module(f, transposition(target, by_table=True)).text()


def gather_text(target: Target, tile: Tile, in_place: bool) -> str:
    """Tasks of a plan (`convolution_plan.gather`).

    Arguments: source, packed weights, out, scratch, tasks, sections, tiles, steps; the source's
    channels, its plane, the output's channels, its plane, outputs of a group, panels of a group,
    floats of a packed panel, floats between pixels, floats of scratch memory for the source and for
    the results.
    """
    f = Function.task()
    arguments, index, thread = f.parameters
    (source, packed, out, scratch, tasks, sections, tiles, steps) = (
        f.slot(arguments, n) for n in range(8)
    )
    (channels, plane, outputs, out_plane, group_outputs, group_panels, panel_floats,
     pixel_floats, source_floats, result_floats) = (
        f.slot(arguments, n, I64) for n in range(8, 18))  # fmt: skip
    width = tile.width
    task = f.at(tasks, index * 10, I32)
    (first, images, first_out, area, first_pixel, pixels, first_section, section_count,
     first_panel, panels) = (offset(f, task, n) for n in range(10))  # fmt: skip
    mine = f.at(scratch, thread * (source_floats + result_floats), FLOAT)
    results = f.at(mine, source_floats, FLOAT)
    image_floats = channels * plane
    image = f.at(source, first * image_floats + first_pixel, FLOAT)
    if not in_place:
        with f.loop(0, images) as loop:
            f.call(
                "transpose", VOID, f.at(image, loop.index * image_floats, FLOAT), plane,
                f.at(mine, loop.index * pixels * pixel_floats, FLOAT), pixel_floats, channels,
                pixels,
            )  # fmt: skip
    groups = outputs / group_outputs
    group_channels = channels / groups
    with f.loop(first_panel, first_panel + panels) as loop:
        group, first_lane = loop.index / group_panels, loop.index % group_panels * width
        biases = f.at(packed, loop.index * panel_floats, FLOAT)
        weights = f.at(biases, width, FLOAT)
        if in_place:
            scalars = f.at(image, group * group_channels * plane, FLOAT)
        else:
            scalars = f.at(mine, group * group_channels, FLOAT)
        with f.loop(first_section, first_section + section_count) as by_section:
            section = f.at(sections, by_section.index * 5, I32)
            count, first_tile, tile_count, first_step, step_count = (
                offset(f, section, n) for n in range(5)
            )
            call_tiles(
                f, tile, count, f.at(tiles, first_tile * (2 * tile.rows), I32), tile_count,
                scalars, weights, f.at(steps, first_step * (2 if in_place else 3), I32),
                step_count, biases, results,
            )  # fmt: skip
        lanes = f.minimum(group_outputs - first_lane, width)
        channel = group * group_outputs + first_lane
        with f.loop(0, images) as by_image:
            plane_at = ((first + by_image.index) * outputs + channel) * out_plane + first_out
            f.call(
                "transpose", VOID, f.at(results, by_image.index * area * width, FLOAT),
                f.value(width, I64), f.at(out, plane_at, FLOAT), out_plane, area, lanes,
            )  # fmt: skip
    f.ret()
    form = "pairs" if in_place else "runs"
    return Module(*tile_functions(tile, form, False), transposition(target), f).text()
