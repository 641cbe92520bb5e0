"""The figures of paper B (arXiv 2502.17408): joint beamforming and scheduling, `digital` power.

The paper's numbers are illegible in its text; ours are a step of 0.01, a threshold of 1e-4, a
minimum rate of 1 bit/s/Hz, and an amplitude that falls by 20 % from user to user.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .claims import above, falls_or_stays, gap_along, rises
from .dataset import describe, select
from .description import Claim, Method, Panel, Setting, Study, Verdict
from .summaries import median

if TYPE_CHECKING:
    from xarray import Dataset

JOINT = Method("joint + greedy (ours)", "joint", "greedy")
LOCAL = Method("joint + local search (ours)", "joint", "local")
BOUND = Method("fully digital, as much radiated", "fully_digital")
PUBLISHED = Method("alternating + greedy (published)", "alternating", "greedy")
RANDOM = Method("random + greedy (benchmark)", "random", "greedy")
_ALL = (JOINT, BOUND, PUBLISHED, RANDOM, LOCAL)

BASE = Setting(constraint="digital", gain_ratio=1.2, min_rate=1.0)
SNR = (0.0, 5.0, 10.0, 15.0, 20.0)
SIZES = (36, 64)
ELEMENTS = (16, 36, 64, 100, 144)
HIGH = (10.0, 20.0)


def _users(variable: str) -> tuple[Panel, ...]:
    """A line for each user; a panel for each method and size."""
    return tuple(
        Panel(
            f"{method.label}, N = {elements}",
            variable,
            x="snr_db",
            lines=("user",),
            where={"method": method.label, "elements": elements},
        )
        for elements in SIZES
        for method in (PUBLISHED, JOINT, BOUND)
    )


B_3 = Study(
    id="B-3",
    title="average rate of each user against SNR",
    source="[B] Fig. 3 and 4, left",
    measure="rates",
    variables=("rates",),
    methods=(JOINT, BOUND, PUBLISHED),
    base=BASE,
    grids=({"elements": SIZES, "snr_db": SNR},),
    panels=_users("rates"),
    says="User 1, with the best channel, has the highest rate, and all rates rise with SNR and N; "
    "below some SNR the last users stay under the minimum on average, not being served.",
    claims=(
        Claim(
            "every user's average rate rises with SNR",
            rises("snr_db", "rates", method=PUBLISHED.label),
        ),
        Claim(
            "every user's average rate is higher with 64 elements than with 36",
            rises("elements", "rates", method=PUBLISHED.label),
        ),
        Claim(
            "users are ordered by channel gain",
            falls_or_stays("user", "rates", method=PUBLISHED.label),
            remark="Zero forcing with one scale gives all served users one rate, so that a user's "
            "average tells how often it is served, and nothing more once all are served always.",
        ),
    ),
)

B_4 = Study(
    id="B-4",
    title="how often each user is served against SNR",
    source="[B] Fig. 3 and 4, right",
    measure="rates",
    variables=("served",),
    methods=(JOINT, BOUND, PUBLISHED),
    base=BASE,
    grids=({"elements": SIZES, "snr_db": SNR},),
    panels=_users("served"),
    says="At low SNR the better users are served more often; with SNR the frequencies level out, "
    "and with 64 elements all are higher at low SNR. The fully digital array schedules nobody: "
    "there a user counts where it has the minimum rate.",
    claims=(
        Claim(
            "users are ordered by channel gain",
            falls_or_stays("user", "served", method=PUBLISHED.label),
        ),
        Claim(
            "the frequencies level out with SNR",
            gap_along("snr_db", -1, {"user": 1}, {"user": 6}, "served", method=PUBLISHED.label),
        ),
        Claim(
            "at low SNR all are served more often with 64 elements",
            rises("elements", "served", method=PUBLISHED.label, snr_db=0.0),
        ),
    ),
)

_BEATS = (
    Claim(
        "the proposed algorithm is above the benchmark everywhere",
        above(PUBLISHED.label, RANDOM.label),
    ),
    Claim("ours is above the proposed algorithm everywhere", above(JOINT.label, PUBLISHED.label)),
    Claim("the fully digital bound is above all", above(BOUND.label, LOCAL.label)),
)

_GAP = ({"method": PUBLISHED.label}, {"method": RANDOM.label})

B_7 = Study(
    id="B-7",
    title="average sum rate against SNR and against the number of elements",
    source="[B] Fig. 5 and 6",
    measure="rates",
    variables=("sum_rate",),
    methods=_ALL,
    base=BASE,
    grids=({"elements": SIZES, "snr_db": SNR}, {"elements": ELEMENTS, "snr_db": HIGH}),
    panels=(
        Panel(
            "against SNR",
            "sum_rate",
            x="snr_db",
            lines=("method", "elements"),
            where={"elements": SIZES},
        ),
        Panel(
            "against the number of elements",
            "sum_rate",
            x="elements",
            lines=("method", "snr_db"),
            where={"snr_db": HIGH},
        ),
    ),
    says="The proposed algorithm is above the benchmark at every SNR and N. The difference is "
    "more pronounced at low SNR, most of all with 64 elements, and narrows slightly with SNR; it "
    "grows with N. At the lower SNR more elements gain less.",
    claims=(
        Claim("the sum rate rises with SNR", rises("snr_db", elements=SIZES)),
        Claim("the sum rate rises with N", rises("elements", snr_db=HIGH)),
        *_BEATS,
        Claim(
            "the gap to the benchmark narrows with SNR",
            gap_along("snr_db", -1, *_GAP, elements=SIZES),
            remark="Zero forcing at random amplitudes loses a nearly constant factor of SNR, which "
            "is a constant number of bits per user at high SNR; at low SNR all rates "
            "are near the minimum, and the benchmark's greedy scheduler drops the users it cannot "
            "serve.",
        ),
        Claim(
            "the gap to the benchmark grows with N", gap_along("elements", 1, *_GAP, snr_db=HIGH)
        ),
        Claim(
            "more elements gain less at the lower SNR",
            gap_along(
                "snr_db",
                1,
                {"elements": 144},
                {"elements": 16},
                method=PUBLISHED.label,
                snr_db=HIGH,
            ),
        ),
    ),
)

B_9 = Study(
    id="B-9",
    title="distribution of the sum rate",
    source="[B] Fig. 7 and 8",
    measure="rates",
    variables=("sum_rate",),
    methods=_ALL,
    base=BASE,
    grids=({"elements": SIZES, "snr_db": HIGH},),
    panels=tuple(
        Panel(
            f"N = {elements}, {snr:g} dB",
            "sum_rate",
            x="",
            where={"elements": elements, "snr_db": snr},
        )
        for snr in HIGH
        for elements in SIZES
    ),
    says="The proposed algorithm's distribution lies to the right of the benchmark's over the "
    "whole range; 64 elements and 20 dB shift both to the right.",
    claims=(
        *_BEATS,
        Claim("64 elements are above 36", rises("elements")),
        Claim("20 dB are above 10 dB", rises("snr_db")),
    ),
)

ALONE = Method("joint (ours)", "joint")
ONE_STEP = Method("alternating, ZF after every step (published)", "alternating")
TO_THE_END = Method(
    "alternating, inner loop to its end (published)", "alternating", options={"inner": 0}
)
_TIMED = (ALONE.label, ONE_STEP.label)


def _never_falls(dataset: Dataset) -> Verdict:
    falls = select(dataset, "largest_fall", elements=64, users=6, method=ONE_STEP.label)
    falls = falls[np.isfinite(falls)]
    share = np.mean(falls > 1e-9)
    return Verdict(
        bool(share == 0.0),
        f"the rate falls at some step in {share:.0%} of the runs, at most by "
        f"{falls.max(initial=0.0):.3g} bit/s/Hz (N = 64, K = 6)",
    )


def _power_of(dimension: str, ends: tuple[int, int], stated: float, **held: int) -> Claim:
    """The exponent with which the time of an iteration grows between two sizes."""
    symbol = {"elements": "N", "users": "K"}[dimension]
    return Claim(
        f"an iteration takes a time that grows as {symbol}^{stated:g}",
        partial(_has_power, dimension, ends, stated, held),
        remark="The gradient shares its inner products (docs/mathematics.md): 16 N K L + 24 K^2 L "
        "operations in all, where (21) of the paper, element by element, is of order N^2 K^2.",
    )


def _has_power(
    dimension: str, ends: tuple[int, int], stated: float, held: dict[str, int], dataset: Dataset
) -> Verdict:
    variable = "microseconds_an_iteration"
    first, last = (
        median(select(dataset, variable, method=ONE_STEP.label, **held, **{dimension: end}))[0]
        for end in ends
    )
    power = float(np.log(last / first) / np.log(ends[1] / ends[0]))
    text = (
        f"{first:.2f} µs at {describe(dimension, ends[0])}, {last:.2f} µs at "
        f"{describe(dimension, ends[1])}: power {power:.2f}"
    )
    return Verdict(abs(power - stated) < 0.3, text)


B_C = Study(
    id="B-C",
    title="convergence, and measured cost beside the stated complexity",
    source="[B] III-A and III-B",
    measure="runs",
    variables=(
        "history",
        "largest_fall",
        "iterations",
        "microseconds",
        "microseconds_an_iteration",
        "sum_rate",
    ),
    methods=(ALONE, BOUND, ONE_STEP, TO_THE_END),
    base=Setting(constraint="digital", gain_ratio=1.2),
    grids=(
        {"elements": (16, 36, 64, 144, 256), "users": (6,)},
        {"elements": (64,), "users": (2, 4, 6, 8)},
    ),
    panels=(
        Panel(
            "convergence, N = 64, K = 6",
            "history",
            x="iterate",
            where={"elements": 64, "users": 6},
            log="x",
        ),
        Panel(
            "an iteration against N, K = 6",
            "microseconds_an_iteration",
            x="elements",
            where={"users": 6, "method": _TIMED},
            statistic="median",
            log="xy",
            guides={"stated: N²": 2.0, "counted: N": 1.0},
        ),
        Panel(
            "an iteration against K = L, N = 64",
            "microseconds_an_iteration",
            x="users",
            where={"elements": 64, "method": _TIMED},
            statistic="median",
            log="xy",
            guides={"stated: K²": 2.0},
        ),
        Panel(
            "a channel against its iterations, N = 64, K = 6",
            "microseconds",
            x="iterations",
            where={"elements": 64, "users": 6, "method": _TIMED},
            log="xy",
        ),
    ),
    says="The sum rate never falls and converges to a stationary point; the cost of an update of "
    "the amplitudes is of order N^2 K^2, to be multiplied by the iterations and the users tried.",
    claims=(
        Claim(
            "the sum rate never falls from one iteration to the next",
            _never_falls,
            remark="Zero forcing is not stationary for the sum rate, so that doing it again after "
            "a step may undo more than the step gained; the best iterate is kept.",
        ),
        _power_of("elements", (64, 256), 2.0, users=6),
        _power_of("users", (4, 8), 2.0, elements=64),
    ),
    most=100,
    chunk=50,
)

STUDIES = (B_3, B_4, B_7, B_9, B_C)
