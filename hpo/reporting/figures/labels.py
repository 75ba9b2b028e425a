"""Where labels of points go so that none lies on another or on a point. Plain numbers only."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.study.state import Trial

Box = tuple[float, float, float, float]  # left, bottom, right, top

CHARACTER = (0.6, 1.7)  # width and height of a character in units of the font size
# Directions to try, nearest first: right and up, left and up, right and down, ...
_DIRECTIONS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
_DISTANCES = (8.0, 18.0, 32.0, 50.0, 72.0)


def params_label(trial: Trial, names: Sequence[str]) -> str:
    """A trial's tuned parameters as in "(8, 0.0003)"."""
    given = (trial.params.get(name, "–") for name in names)
    values = (f"{value:.2g}" if isinstance(value, float) else str(value) for value in given)
    return f"({', '.join(values)})"


def place_labels(
    points: Sequence[tuple[float, float]],
    obstacles: Sequence[tuple[float, float]],
    texts: Sequence[str],
    area: tuple[float, float],
    font: float,
) -> list[tuple[float, float] | None]:
    """Offsets from points to the centres of their labels.

    Args:
        points: what is labelled, in pixels from the lower left corner.
        obstacles: further points that no label is to cover.
        texts: one for each point.
        area: width and height in pixels; no label leaves it.
        font: size in pixels.

    Returns:
        For each point the first free place, tried nearest first, or None where there is none.
    """
    dots = [(x - 4, y - 4, x + 4, y + 4) for x, y in [*points, *obstacles]]
    taken: list[Box] = []
    placed: list[tuple[float, float] | None] = []
    for point, text in zip(points, texts, strict=True):
        half = (len(text) * font * CHARACTER[0] / 2, font * CHARACTER[1] / 2)
        placed.append(_first_free(point, half, area, dots, taken))
    return placed


def _first_free(
    point: tuple[float, float],
    half: tuple[float, float],
    area: tuple[float, float],
    dots: Sequence[Box],
    taken: list[Box],
) -> tuple[float, float] | None:
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            offset = (right * (distance + half[0]), up * (distance + half[1]))
            x, y = point[0] + offset[0], point[1] + offset[1]
            box = (x - half[0], y - half[1], x + half[0], y + half[1])
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= area[0] and box[3] <= area[1]
            if inside and not any(_overlap(box, other) for other in [*taken, *dots]):
                taken.append(box)
                return offset
    return None


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
