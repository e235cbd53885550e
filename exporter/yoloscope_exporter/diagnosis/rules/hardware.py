"""GPUs that run below what they could."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.rules.rule import INFO, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def _brake_evidence(s: Signals, _: Thresholds) -> str:
    clock = s.text("; SM clock {clock_ratio:.0%} of max") if s.has(Signals.clock_ratio) else ""
    return s.text("power brake {power_brake_share:.0%} of the time{clock}", clock=clock)


def _thermal_evidence(s: Signals, _: Thresholds) -> str:
    heat = s.text(" at {temperature_celsius:.0f} C") if s.has(Signals.temperature_celsius) else ""
    clock = s.text("; SM clock {clock_ratio:.0%} of max") if s.has(Signals.clock_ratio) else ""
    return s.text("thermal slowdown {thermal_share:.0%} of the time{heat}{clock}", heat=heat, clock=clock)


def _power_evidence(s: Signals, _: Thresholds) -> str:
    power = s.text(" of {power_limit_watts:.0f} W") if s.has(Signals.power_limit_watts) else ""
    clock = s.text("; SM clock {clock_ratio:.0%} of max") if s.has(Signals.clock_ratio) else ""
    return s.text(
        "clocks limited by the power limit{power} {power_share:.0%} of the time{clock}", power=power, clock=clock
    )


def _below_link_maximum(s: Signals, t: Thresholds) -> bool:
    if s.pcie_width < s.pcie_width_max:
        return True
    loaded = s.get(Signals.gpu_busy) >= t.gpu_under_load  # an idle GPU lowers the generation to save power
    return (
        loaded
        and s.has(Signals.pcie_generation, Signals.pcie_generation_max)
        and s.pcie_generation < s.pcie_generation_max
    )


def _pcie_evidence(s: Signals, _: Thresholds) -> str:
    told = s.text("PCIe x{pcie_width:.0f} of x{pcie_width_max:.0f}")
    if s.has(Signals.pcie_generation, Signals.pcie_generation_max):
        told += s.text(", generation {pcie_generation:.0f} of {pcie_generation_max:.0f} under load")
    return told


RULES = (
    Rule(
        name="thermal_throttle",
        title="The GPU is too hot",
        severity=WARNING,
        requires="throttle reasons of temperature; hardware slowdown only where the power brake does not explain it",
        confused_with={
            "power_brake": "hardware slowdown stands for either; the brake's own reason tells",
            "power_capped": "another reason",
        },
        needs=(Signals.thermal_share,),
        when=lambda s, t: s.thermal_share >= t.thermal_share,
        thresholds=("thermal_share",),
        evidence=_thermal_evidence,
        cause="the GPU lowers its clocks to stay within its temperature limit",
        verify="nvidia-smi -q -d PERFORMANCE,TEMPERATURE",
        fix=lambda _: Advice(
            note=text("cooling, dust, rack temperature; nvidia-smi -pl lowers the power limit meanwhile")
        ),
        remedy="cooling; a lower power limit meanwhile",
    ),
    Rule(
        name="power_brake",
        title="The power supply slows the GPU down",
        severity=WARNING,
        requires="throttle reason hw_power_brake_slowdown",
        confused_with={
            "thermal_throttle": "temperature has reasons of its own",
            "power_capped": "the power limit is software's (sw_power_cap)",
        },
        needs=(Signals.power_brake_share,),
        when=lambda s, t: s.power_brake_share >= t.power_brake,
        thresholds=("power_brake",),
        evidence=_brake_evidence,
        cause="the board's power brake is pulled: a power supply, its cables or the node's limit cannot give more",
        verify="nvidia-smi -q -d PERFORMANCE: HW Power Brake Slowdown; the BMC's log (ipmitool sel list)",
        fix=lambda _: Advice(
            note=text(
                "check power supplies and cables, the rack's power limit; nvidia-smi -pl <watts> below it meanwhile"
            )
        ),
        remedy="power supplies, cables, the rack's power limit; a lower power limit meanwhile",
    ),
    Rule(
        name="power_capped",
        title="The GPU is held down by its power limit",
        severity=INFO,
        requires="throttle reason sw_power_cap, and a clock that is much below its maximum",
        confused_with={
            "healthy": "a cap that costs little of the clock",
            "power_brake": "another reason",
        },
        needs=(Signals.power_share,),
        when=lambda s, t: s.power_share >= t.power_share and s.get(Signals.clock_ratio) < t.clock_ratio,
        thresholds=("power_share", "clock_ratio"),
        evidence=_power_evidence,
        cause="the power limit is lower than what this training would draw",
        verify="nvidia-smi -q -d POWER,CLOCK",
        fix=lambda _: Advice(note=text("raise the limit where that is allowed: nvidia-smi -pl <watts>")),
        slows=True,
        remedy="raise the power limit where that is allowed",
    ),
    Rule(
        name="pcie_degraded",
        title="The PCIe link is narrower or slower than it could be",
        severity=INFO,
        requires="lanes in use below the maximum; the generation only under load",
        confused_with={
            "h2d_bound": "says whether copies are slow; this alone is a note",
        },
        needs=(Signals.pcie_width, Signals.pcie_width_max),
        when=_below_link_maximum,
        thresholds=("gpu_under_load",),
        evidence=_pcie_evidence,
        cause="a slot with fewer lanes by design, a badly seated card, a riser, or a link that trained down",
        verify="nvidia-smi --query-gpu=pcie.link.width.current,pcie.link.width.max,pcie.link.gen.current --format=csv",
        fix=lambda _: Advice(
            note=text("nothing while copies are quick (h2d_bound says so); else reseat the card, or use a full slot")
        ),
        remedy="nothing while copies are quick; else reseat the card, a full slot",
    ),
)
