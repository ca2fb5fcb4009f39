"""A line search for the strong Wolfe conditions.

Source: Nocedal and Wright, "Numerical Optimization", algorithms 3.5 (bracketing) and 3.6 (zoom)."""

from __future__ import annotations

from collections import namedtuple

SUFFICIENT_DECREASE, CURVATURE = 1e-4, 0.9
SHORTEST_BRACKET = 1e-9

Point = namedtuple("Point", "length loss grad slope")


def cubic_minimum(a: Point, b: Point, bounds=None):
    """Where the cubic through two points with their slopes is least, within the bounds."""
    x1, f1, g1 = a.length, a.loss, a.slope
    x2, f2, g2 = b.length, b.loss, b.slope
    low, high = bounds or ((x1, x2) if x1 <= x2 else (x2, x1))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square**0.5
    if x1 <= x2:
        least = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        least = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(least, low), high)


def strong_wolfe(evaluate, length, direction, loss, grad, slope, max_evaluations: int) -> tuple:
    """Find a length that lowers the loss enough and flattens the slope enough.

    Args:
        evaluate: gives loss and gradient at a length.
        length: the first trial.
        direction, loss, grad, slope: the line and the values at its beginning.
        max_evaluations: after how many more evaluations to be content with the best so far.

    Returns:
        ``(loss, grad, length, evaluations)``
    """

    def at(length) -> Point:
        value, gradient = evaluate(length)
        return Point(length, value, gradient.copy(), gradient @ direction)

    def too_high(point: Point) -> bool:
        return point.loss > loss + SUFFICIENT_DECREASE * point.length * slope

    def flat_enough(point: Point) -> bool:
        return abs(point.slope) <= -CURVATURE * slope

    start = previous = Point(0, loss, grad, slope)
    point = at(length)
    evaluations, searches = 1, 0
    bracket: list[Point] = []
    while searches < max_evaluations:
        if too_high(point) or (searches > 1 and point.loss >= previous.loss):
            bracket = [previous, point]
            break
        if flat_enough(point):
            return point.loss, point.grad, point.length, evaluations
        if point.slope >= 0:
            bracket = [previous, point]
            break
        nearest = point.length + 0.01 * (point.length - previous.length)
        bounds = nearest, point.length * 10
        previous, point = point, at(cubic_minimum(previous, point, bounds))
        evaluations += 1
        searches += 1
    if searches == max_evaluations:
        bracket = [start, point]

    reach = abs(direction).max()
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    stuck = False
    while searches < max_evaluations:
        shortest = min(bracket[0].length, bracket[1].length)
        longest = max(bracket[0].length, bracket[1].length)
        if abs(bracket[1].length - bracket[0].length) * reach < SHORTEST_BRACKET:
            break
        length = cubic_minimum(*bracket)
        margin = 0.1 * (longest - shortest)
        if min(longest - length, length - shortest) < margin:
            # The second trial near an end, or one at it, is moved inwards.
            if stuck or length >= longest or length <= shortest:
                nearer_end = abs(length - longest) < abs(length - shortest)
                length = longest - margin if nearer_end else shortest + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        point = at(length)
        evaluations += 1
        searches += 1
        if too_high(point) or point.loss >= bracket[low].loss:
            bracket[high] = point
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        done = flat_enough(point)
        if not done and point.slope * (bracket[high].length - bracket[low].length) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = point
        if done:
            break
    best = bracket[low]
    return best.loss, best.grad, best.length, evaluations
