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
    amount = {name: figure.value for name, figure in figures.items()}
    kwh = _kwh(prices, amount.get("energy"), amount.get("cpu_energy"))
    lost = amount.get("wasted")
    found = dict(figures)
    for name, cost in (
        ("cost", _cost(prices, amount.get("gpu_hours"), kwh)),
        (
            "wasted_cost",
            _cost(prices, None if lost is None else lost / 3600, _kwh(prices, amount.get("wasted_energy"))),
        ),
    ):
        if cost is not None:
            found[name] = Figure(cost)
    if kwh is not None and prices.co2_kwh is not None:
        found["co2"] = Figure(kwh * prices.co2_kwh)
    return found


def _kwh(prices: Prices, *joules: float | None) -> float | None:
    """Kilowatt-hours of those that are known, with what the whole takes beside them."""
    known = [one for one in joules if one is not None]
    return sum(known) * prices.overhead / JOULES_PER_KWH if known else None


def _cost(prices: Prices, gpu_hours: float | None, kwh: float | None) -> float | None:
    """What so much costs, as far as amounts and prices are known."""
    pairs = ((gpu_hours, prices.gpu_hour), (kwh, prices.kwh))
    costs = [amount * price for amount, price in pairs if amount is not None and price is not None]
    return sum(costs) if costs else None
