"""When a process that ended may start again. Pure: no clock, no process."""

from __future__ import annotations

STABLE_S = 30.0
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0


def restart_delay_s(exits: int, lived_s: float) -> float:
    """Return how long to wait before a restart.

    Parameters
    ----------
    exits : int, >= 1
        How often it ended, this time included.
    lived_s : float
        How long it lived this time.

    Returns
    -------
    float
        0 after a long life, else doubling from 0.1 s up to 10 s.
    """
    if lived_s >= STABLE_S or exits <= 1:
        return 0.0
    return float(min(FIRST_DELAY_S * 2 ** min(exits - 2, 20), LONGEST_DELAY_S))
