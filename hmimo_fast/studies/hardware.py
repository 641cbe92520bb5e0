"""Our own study: which element is worth what."""

from __future__ import annotations

from .claims import above
from .description import Claim, Method, Panel, Setting, Study

_BITS = (1, 2, 3)
AMPLITUDE = Method("amplitudes", "joint")
LORENTZIAN = Method("Lorentzian elements", "joint", options={"elements": "lorentzian"})
PHASE = Method("phases", "joint", options={"elements": "phase"})
FEW = tuple(
    Method(f"{bits}-bit phases", "joint", options={"elements": "phase", "bits": bits})
    for bits in _BITS
)
BOUND = Method("fully digital", "fully_digital")

E_1 = Study(
    id="E-1",
    title="which element is worth what",
    source="ours",
    measure="rates",
    variables=("sum_rate",),
    methods=(AMPLITUDE, BOUND, LORENTZIAN, PHASE, *FEW),
    base=Setting(elements=64, users=6),
    grids=({"constraint": ("radiated", "digital"), "snr_db": (0.0, 10.0, 20.0)},),
    panels=tuple(
        Panel(f"{constraint} power", "sum_rate", x="snr_db", where={"constraint": constraint})
        for constraint in ("radiated", "digital")
    ),
    says="An element that can do more serves more: the circle of a Lorentzian element lies between "
    "amplitudes and phases, and phases of three bits are nearly as good as any.",
    claims=(
        Claim("Lorentzian elements are above amplitudes", above(LORENTZIAN.label, AMPLITUDE.label)),
        Claim("phases are above Lorentzian elements", above(PHASE.label, LORENTZIAN.label)),
        Claim("two bits are above one", above(FEW[1].label, FEW[0].label)),
        Claim("three bits are above two", above(FEW[2].label, FEW[1].label)),
        Claim("phases of two bits are above amplitudes", above(FEW[1].label, AMPLITUDE.label)),
    ),
    most=200,
    chunk=50,
)

STUDIES = (E_1,)
