"""Values that are put together in memory: rows that are added up by number, and arrays of which a
part is written."""

from __future__ import annotations

from math import prod

from danlu.kernels.codegen.types import I64
from danlu.kernels.graph.nodes import Node, Unsupported, dense, dtype_name
from danlu.kernels.graph.operations import load_type
from danlu.kernels.graph.single_body import Body
from danlu.kernels.graph.single_memory import Place
from danlu.kernels.graph.single_nests import Nest, NestWriter, identity_axes

__all__ = ["PlaceWriter"]


class PlaceWriter(NestWriter):
    """Writes what is put together in memory."""

    def sum_rows(self, node: Node) -> None:
        """Rows of zeros to which others are added, each to the one that its number names."""
        values, numbers = node.args
        for place in self._own_places(node):
            self._fill(place, self.plan.graph.constant(0, node.dtype))
            self._scatter(values, numbers, place)

    def with_part(self, node: Node) -> None:
        """An array of which a view holds other values."""
        x, part = node.args
        for place in self._own_places(node):
            self._fill(place, x)
            seen = place.seen(node.info.look)
            if seen is None:
                raise Unsupported("writing to a view that copies")
            self._fill(seen, part)

    def _own_places(self, node) -> list[Place]:
        """Where a value is wanted, or else a place of its own."""
        places = self.destinations(node)
        places = places or [self.temporary(node, dense(node.shape), prod(node.shape), None)]
        self.places[node] = places[0]
        return places

    def _scatter(self, values, numbers, place) -> None:
        """Add each row of `values` to the row of a place that its number names."""
        f, rank = self.f, len(numbers.shape)
        body = Body(self, (), self.plan.inline)
        nest = Nest(body, values.shape)
        axes = identity_axes(values.shape)
        number, value = body.want(numbers, axes[:rank]), body.want(values, axes)
        inner = [axis for axis in nest.sizes if axis >= rank]
        nest.lane = inner[-1] if inner else None
        steps = {axis: place.strides[axis - rank + 1] for axis in inner}

        def add(scope):
            row = f.convert(scope.values[number], I64)
            row = f.intrinsic("smin", f.intrinsic("smax", row, 0), place.shape[0] - 1)
            offset = row * place.strides[0] + scope.offset(f, steps)
            address = f.at(self.base(place), offset, load_type(dtype_name(place.dtype)))
            rest = steps.get(nest.lane, 0)
            before = self.read(address, place, rest, scope.valid)
            added = scope.values[value]
            if added.type.lanes < before.type.lanes:  # the same along a row
                added = f.broadcast(added, before.type.lanes)
            self.write(address, place, rest, scope.valid, before + added)

        nest.action = add
        self.run(nest, [])

    def _fill(self, place, node) -> None:
        """Write a value of another step, or a number, to a place."""
        body = Body(self, (), self.plan.inline)
        nest = Nest(body, place.shape)
        missing = len(place.shape) - len(node.shape)
        nest.stores.append((body.want(node, identity_axes(place.shape)[missing:]), place))
        nest.merge([])
        nest.choose_lane(self.lanes)
        self.run(nest, [])
