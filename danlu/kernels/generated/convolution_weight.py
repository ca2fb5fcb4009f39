"""Kernels of the gradient of a convolution's weight: sums over pixels, without patches in memory.

A task of `reduce` has one panel of lanes and some images: it writes their pixels, and adds products
to its own sums. `finish` adds the partial sums in order, so the number of threads changes no bit,
and turns them into weights.
"""

from __future__ import annotations

from danlu.kernels.codegen.function import Function, Module
from danlu.kernels.codegen.target import Target
from danlu.kernels.codegen.types import FLOAT, I32, I64, PTR, VOID
from danlu.kernels.generated.blocks import transposition
from danlu.kernels.generated.convolution_tiles import Tile, call_tiles, offset, tile_functions

__all__ = ["finish_text", "reduce_text"]


def reduce_text(target: Target, tile: Tile) -> str:
    """Tasks of a plan (`convolution_weight_plan.Reduction`), one chunk's panels after the other's.

    Arguments: lanes' array, scalars' array, partial sums, scratch, blocks, lists, steps,
    sections, tiles; panels, panels of a task, panels of a group; channels, channels of a group and
    plane of the lanes' array, the same three of the scalars' array; images, images of a chunk,
    images at a time, blocks for those, blocks for the rest, rows, sections, shifts.
    """
    f = Function.task()
    arguments, index, thread = f.parameters
    (lanes_of, scalars_of, partials, scratch, blocks, lists, steps, sections, tiles) = (
        f.slot(arguments, n) for n in range(9)
    )
    (panels, task_panels, group_panels, lane_channels, lane_group, lane_plane, scalar_channels,
     scalar_group, scalar_plane, images, chunk, together, whole_blocks, rest_blocks, rows,
     section_count, shifts) = (f.slot(arguments, n, I64) for n in range(9, 26))  # fmt: skip
    lanes, width = tile.lanes, tile.width
    cuts = (panels + (task_panels - 1)) / task_panels
    first_panel = index % cuts * task_panels
    last_panel = f.minimum(first_panel + task_panels, panels)
    first = index / cuts * chunk
    last = f.minimum(first + chunk, images)
    panel_floats = shifts * rows * width
    sums = f.at(partials, index / cuts * panels * panel_floats, FLOAT)
    zero = f.broadcast(0.0, lanes, FLOAT)
    with f.loop(first_panel * panel_floats, last_panel * panel_floats, lanes) as loop:
        f.store(zero, sums, loop.index)
    panel_pixels = together * lane_plane * width
    scratch = f.at(scratch, thread * (task_panels * panel_pixels), FLOAT)

    def pixels_of(panel):
        return f.at(scratch, (panel - first_panel) * panel_pixels, FLOAT)

    with f.loop(first, last, together) as by_images:
        count = f.minimum(last - by_images.index, together)
        with f.loop(first_panel, last_panel) as by_panel, f.loop(0, count) as by_image:
            panel, image = by_panel.index, by_images.index + by_image.index
            first_lane = panel % group_panels * width
            channel = image * lane_channels + panel / group_panels * lane_group + first_lane
            f.call(
                "transpose", VOID, f.at(lanes_of, channel * lane_plane, FLOAT), lane_plane,
                f.at(pixels_of(panel), by_image.index * lane_plane * width, FLOAT),
                f.value(width, I64), f.minimum(lane_group - first_lane, width), lane_plane,
            )  # fmt: skip
        image_scalars = by_images.index * scalar_channels
        full = f.compare("eq", count, together)
        begin = f.select(full, f.value(0, I64), whole_blocks)
        end = f.select(full, whole_blocks, whole_blocks + rest_blocks)
        with f.loop(begin, end) as by_block, f.loop(0, section_count) as by_section:
            block = f.at(blocks, by_block.index * 2, I32)
            section = f.at(sections, by_section.index * 3, I32)
            section_rows, first_tile, tile_count = (offset(f, section, n) for n in range(3))
            table = f.at(tiles, first_tile * (2 * tile.rows), I32)
            first_list = offset(f, block)
            last_list = first_list + offset(f, block, 1)
            with f.loop(first_panel, last_panel) as by_panel:
                panel = by_panel.index
                channel = image_scalars + panel / group_panels * scalar_group
                scalars = f.at(scalars_of, channel * scalar_plane, FLOAT)
                pixels = pixels_of(panel)
                panel_sums = f.at(sums, panel * panel_floats, FLOAT)
                with f.loop(first_list, last_list) as by_list:
                    listed = f.at(lists, by_list.index * 5, I32)
                    shift, step, length, scalar, vector = (offset(f, listed, n) for n in range(5))
                    out = f.at(panel_sums, shift * rows * width, FLOAT)
                    call_tiles(
                        f, tile, section_rows, table, tile_count, f.at(scalars, scalar, FLOAT),
                        f.at(pixels, vector, FLOAT), f.at(steps, step * 2, I32), length, out, out,
                    )  # fmt: skip
    f.ret()
    return Module(*tile_functions(tile, "pairs", True), transposition(target), f).text()


def finish_text(target: Target, tile: Tile) -> str:
    """Task `panel` adds the chunks' sums of one panel and turns them into weights.

    Arguments: partial sums, weights; chunks, panels, panels of a group, lanes of a group, floats of
    a panel's sums; blocks, sums between blocks, rows of a block, sums between rows; where in the
    weights a group, a lane and a block begin.
    """
    f = Function("task", [("arguments", PTR), ("panel", I64), ("thread", I64)])
    arguments, panel, _ = f.parameters
    partials, weights = f.slot(arguments, 0), f.slot(arguments, 1)
    (chunks, panels, group_panels, group_lanes, floats, blocks, block_step, rows, row_step,
     group_out, lane_out, block_out) = (
        f.slot(arguments, n, I64) for n in range(2, 14))  # fmt: skip
    lanes, width = tile.lanes, tile.width
    vector = FLOAT.vector(lanes)
    sums = f.at(partials, panel * floats, FLOAT)
    with f.loop(1, chunks) as by_chunk:
        other = f.at(sums, by_chunk.index * panels * floats, FLOAT)
        with f.loop(0, floats, lanes) as loop:
            total = f.load(sums, vector, loop.index) + f.load(other, vector, loop.index)
            f.store(total, sums, loop.index)
    group, first = panel / group_panels, panel % group_panels * width
    used = f.minimum(group_lanes - first, width)
    out = f.at(weights, group * group_out + first * lane_out, FLOAT)

    def copied():
        masks = {n: f.mask_below(used - n, lanes) for n in range(0, width, lanes)}
        with f.loop(0, blocks) as loop:
            source = f.at(sums, loop.index * block_step, FLOAT)
            place = f.at(out, loop.index * block_out, FLOAT)
            for n, mask in masks.items():
                f.masked_store(f.load(source, vector, n), place, mask, n)

    def turned():
        with f.loop(0, blocks) as loop:
            f.call(
                "transpose", VOID, f.at(sums, loop.index * block_step, FLOAT), row_step,
                f.at(out, loop.index * block_out, FLOAT), lane_out, rows, used,
            )  # fmt: skip

    f.either(f.compare("eq", lane_out, 1), copied, turned)
    f.ret()
    return Module(transposition(target), f).text()
