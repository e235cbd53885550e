"""What a run's energy and GPU-hours cost, by factors that somebody has said: without them no money is shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.language import text
from yoloscope_exporter.reports.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping

JOULES_PER_KWH = 3.6e6


class Prices(NamedTuple):
    """Factors; None for what nobody has said.

    Attributes:
        gpu_hour: of a GPU held for an hour, in whatever currency.
        kwh: of a kilowatt-hour, in the same.
        co2_kwh: kilograms of CO2 for a kilowatt-hour.
        overhead: energy of the whole over that of GPUs and CPU packages: memory, fans, power supplies, cooling.
    """

    gpu_hour: float | None = None
    kwh: float | None = None
    co2_kwh: float | None = None
    overhead: float = 1.0


#: Environment variables, by field.
VARIABLES = {
    "gpu_hour": "YOLOSCOPE_PRICE_PER_GPU_HOUR",
    "kwh": "YOLOSCOPE_PRICE_PER_KWH",
    "co2_kwh": "YOLOSCOPE_CO2_PER_KWH",
    "overhead": "YOLOSCOPE_ENERGY_OVERHEAD",
}


def from_environment(environ: Mapping[str, str]) -> Prices:
    """The factors that the environment names.

    Raises:
        ValueError: one is no number of 0 or more.
    """
    return Prices(**{field: _number(name, environ[name]) for field, name in VARIABLES.items() if environ.get(name)})


def _number(name: str, said: str) -> float:
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(text("{name} must be a number of 0 or more, not {value!r}", name=name, value=said))
    return number


def priced(figures: Mapping[str, Figure], prices: Prices) -> dict[str, Figure]:
    """The same figures, with the cost and the CO2 of those that are known."""
    known = [figures[name].value for name in ("energy", "cpu_energy") if name in figures]
    kwh = sum(known) * prices.overhead / JOULES_PER_KWH if known else None
    held = figures["gpu_hours"].value if "gpu_hours" in figures else None
    costs = [
        amount * price
        for amount, price in ((kwh, prices.kwh), (held, prices.gpu_hour))
        if amount is not None and price is not None
    ]
    found = dict(figures)
    if costs:
        found["cost"] = Figure(sum(costs))
    if kwh is not None and prices.co2_kwh is not None:
        found["co2"] = Figure(kwh * prices.co2_kwh)
    return found
