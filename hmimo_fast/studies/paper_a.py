"""The figures and tables of paper A (arXiv 2504.19522): its network and baselines, `radiated`."""

from __future__ import annotations

from .claims import above, rises, sooner
from .description import Claim, Method, Panel, Setting, Study

JOINT = Method("joint (ours)", "joint")
BOUND = Method("fully digital", "fully_digital")
MBDNN = Method("MB-DNN", "mbdnn")
UNTRAINED = Method("MB-DNN, untrained", "mbdnn", options={"model": "untrained"})
UNROLLED = Method("unrolled network (ours)", "mbdnn", options={"model": "unrolled"})
WMMSE = Method("WMMSE-HBF, 300 sweeps", "wmmse_hbf")
CONVERGED = Method("WMMSE-HBF, converged", "wmmse_hbf", options={"iterations": 10_000})
ZF = Method("ZF-HBF", "zf_hbf")
GNN2D = Method("2DGNN", "mbdnn", options={"model": "gnn2d"})
FNN = Method("FNN", "mbdnn", options={"model": "fnn"})

BASE = Setting()
SNR = (-10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
ELEMENTS = (16, 36, 64, 100, 144)
_ALL = (JOINT, BOUND, MBDNN, WMMSE, ZF, UNROLLED, CONVERGED, UNTRAINED, GNN2D, FNN)

_NETWORK = (
    "The paper's widths, depth and training set do not determine its network, and its WMMSE-HBF "
    "may have stopped early: ours runs its 300 sweeps to the end in milliseconds."
)
_ORDER = (
    Claim(
        "MB-DNN is above WMMSE-HBF everywhere",
        above(MBDNN.label, WMMSE.label),
        remark=_NETWORK,
    ),
    Claim(
        "MB-DNN is above 2DGNN everywhere (here after minutes of training)",
        above(MBDNN.label, GNN2D.label),
    ),
    Claim(
        "MB-DNN is above FNN everywhere (here after minutes of training)",
        above(MBDNN.label, FNN.label),
    ),
    Claim("training raises MB-DNN everywhere", above(MBDNN.label, UNTRAINED.label)),
    Claim("WMMSE-HBF is above ZF-HBF everywhere", above(WMMSE.label, ZF.label)),
    Claim(
        "ours is above WMMSE-HBF everywhere",
        above(JOINT.label, WMMSE.label),
        remark="At low SNR it pays to leave users out, and the zero forcing that `joint` begins "
        "with serves all of them.",
    ),
    Claim("the fully digital bound is above all", above(BOUND.label, CONVERGED.label)),
)


def _against(dimension: str, title: str) -> tuple[Panel, Panel]:
    """The rates, and relative to the baseline those that are near it, to tell them apart."""
    compared = tuple(method.label for method in _ALL if method not in (BOUND, ZF, GNN2D, FNN))
    relative = Panel(
        "relative",
        "sum_rate",
        x=dimension,
        where={"method": compared},
        relative_to=WMMSE.label,
    )
    return Panel(title, "sum_rate", x=dimension), relative


A_3 = Study(
    id="A-3",
    title="spectral efficiency against SNR, 64 elements",
    source="[A] Fig. 3",
    measure="rates",
    variables=("sum_rate",),
    methods=_ALL,
    base=BASE,
    grids=({"snr_db": SNR},),
    panels=_against("snr_db", "N = 64, K = L = 6"),
    says="MB-DNN is above WMMSE-HBF, ZF-HBF and the other networks at every SNR.",
    claims=(Claim("the spectral efficiency rises with SNR", rises("snr_db")), *_ORDER),
)

A_4 = Study(
    id="A-4",
    title="spectral efficiency against the number of elements, 10 dB",
    source="[A] Fig. 4",
    measure="rates",
    variables=("sum_rate",),
    methods=_ALL,
    base=BASE,
    grids=({"elements": ELEMENTS},),
    panels=_against("elements", "10 dB, K = L = 6"),
    says="MB-DNN is above WMMSE-HBF, ZF-HBF and the other networks at every N.",
    claims=(
        Claim(
            "the spectral efficiency rises with N",
            rises("elements"),
            remark="2DGNN had some minutes of training, at N = 64 alone.",
        ),
        *_ORDER,
    ),
)

A_T1 = Study(
    id="A-T1",
    title="time of one channel, one at a time on one core",
    source="[A] Table I",
    measure="runs",
    variables=("microseconds", "sum_rate"),
    methods=_ALL,
    base=BASE,
    grids=({"elements": (36, 64, 144)},),
    panels=(
        Panel("time, 10 dB, K = L = 6", "microseconds", x="elements", statistic="median", log="xy"),
        Panel("sum rate", "sum_rate", x="elements"),
    ),
    says="36.13 ms for MB-DNN, 9.72 ms for 2DGNN, 4.69 ms for FNN, 88.8 s for WMMSE-HBF and "
    "79.2 s for ZF-HBF, on hardware that is not named.",
    claims=(
        Claim(
            "the network takes less time than WMMSE-HBF",
            above(WMMSE.label, MBDNN.label, "microseconds"),
            remark="Compiled and with its inner products shared, WMMSE-HBF takes milliseconds, not "
            "the 88.8 s of the paper, and a network of dozens of small tensor operations has "
            "nothing left to win on a CPU.",
        ),
        Claim(
            "ours takes less time than the network", above(MBDNN.label, JOINT.label, "microseconds")
        ),
    ),
    most=40,
    chunk=20,
)

A_T2 = Study(
    id="A-T2",
    title="one network at sizes it was not trained for, relative to WMMSE-HBF",
    source="[A] Table II",
    measure="rates",
    variables=("sum_rate",),
    methods=(JOINT, BOUND, MBDNN, WMMSE, UNTRAINED),
    base=BASE,
    grids=({"elements": (36, 64, 100), "users": (2, 4, 6, 8)},),
    panels=tuple(
        Panel(
            method.label,
            "sum_rate",
            x="users",
            lines=("elements",),
            where={"method": method.label},
            relative_to=WMMSE.label,
        )
        for method in (MBDNN, UNTRAINED, JOINT, BOUND)
    ),
    says="MB-DNN stays at or above 100 % of WMMSE-HBF at other K than it was trained at.",
    claims=(
        Claim(
            "MB-DNN reaches WMMSE-HBF at every size",
            above(MBDNN.label, WMMSE.label),
            remark=_NETWORK,
        ),
        Claim("ours reaches WMMSE-HBF at every size", above(JOINT.label, WMMSE.label)),
    ),
)

A_T1S = Study(
    id="A-T1s",
    title="samples until WMMSE-HBF, 4 elements, 2 users",
    source="[A] Table I, at a size for two cores",
    measure="samples",
    variables=("course", "share", "samples", "seen", "seconds", "parameters", "megabytes"),
    methods=tuple(
        Method(label, "mbdnn", options={"recipe": f"{name}_4"})
        for label, name in (("MB-DNN", "mbdnn"), ("2DGNN", "gnn2d"), ("FNN", "fnn"))
    ),
    base=Setting(elements=4, users=2),
    grids=({"users": (2,)},),
    panels=(
        Panel("validation, three seeds", "course", x="channels_seen", where={"users": 2}, log="x"),
    ),
    says="MB-DNN needs 5 K channels to match WMMSE-HBF, 2DGNN 15 K and FNN 450 K.",
    claims=(
        Claim(
            "MB-DNN matches WMMSE-HBF before 2DGNN does",
            sooner("MB-DNN", "2DGNN"),
        ),
        Claim(
            "2DGNN matches WMMSE-HBF before FNN does",
            sooner("2DGNN", "FNN"),
            remark="With four elements it does so on the mean of the seeds, and not with each: "
            "there is little in the symmetry of four.",
        ),
    ),
    most=3,
    chunk=1,
)

STUDIES = (A_3, A_4, A_T1, A_T2, A_T1S)
