"""The unit of time that a model is trained in: one of the data's own, whatever unit their times are written in."""

from __future__ import annotations

import numpy as np

from dash_hpc.data.timecourse import TimeCourse
from dash_hpc.errors import DataError

__all__ = ["check_unit", "length_unit", "typical_unit"]

#: Length of a trajectory of SIM350 (times 0, 2, 3, 7, 9). The published starting values and learning rates are made for
#: courses of that length: a rate of 1/2, the mean at the start, then means 4.5 relaxation times.
_TRAJECTORY = 9.0
_LEAST, _MOST = 1e-30, 1e30


def typical_unit(course: TimeCourse) -> float:
    """Return the size of the unit to train in, in the data's unit of time: 1/9 of the median length of a trajectory.

    It scales with the times, and a denser sampling of the same course does not change it. 1 when no trajectory has two
    time points.
    """
    known = [trajectory.times[np.isfinite(trajectory.times)] for trajectory in course.trajectories]
    lengths = [times[-1] - times[0] for times in known if len(times) > 1]
    return length_unit(float(np.median(lengths))) if lengths else 1.0


def length_unit(length: float) -> float:
    """Return the size of the unit for trajectories of this length."""
    return check_unit(length / _TRAJECTORY)


def check_unit(size: float) -> float:
    """Return ``size``; DataError when rates per unit of the data's time could not be written in float32."""
    if not _LEAST <= size <= _MOST:
        raise DataError(
            f"the times are too {'short' if size < _LEAST else 'long'}: a unit to train in would be {size:.3g} of "
            f"theirs; give them in another unit ({_LEAST:g} to {_MOST:g} is allowed)"
        )
    return size
