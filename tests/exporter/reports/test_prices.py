"""Energy and GPU-hours as money: by factors that somebody said, and not without."""

from __future__ import annotations

import pytest
from yoloscope_exporter.reports.figures import Figure
from yoloscope_exporter.reports.prices import Prices, from_environment, priced

FIGURES = {"energy": Figure(7.2e6), "cpu_energy": Figure(3.6e6), "gpu_hours": Figure(4.0)}


def test_what_was_drawn_and_held_at_its_price() -> None:
    """Three kilowatt-hours at half as much again, and four hours of a GPU."""
    found = priced(FIGURES, Prices(gpu_hour=2.5, kwh=0.2, co2_kwh=0.4, overhead=1.5))
    assert found["cost"].value == pytest.approx(4 * 2.5 + 3 * 1.5 * 0.2)
    assert found["co2"].value == pytest.approx(3 * 1.5 * 0.4)


def test_what_was_lost_at_its_price() -> None:
    """A quarter of an hour of a GPU and a twentieth of a kilowatt-hour at half as much again."""
    lost = {"wasted": Figure(900.0), "wasted_energy": Figure(1.8e5)}
    found = priced({**FIGURES, **lost}, Prices(gpu_hour=2.0, kwh=0.2, overhead=1.5))
    assert found["wasted_cost"].value == pytest.approx(0.5 + 0.05 * 1.5 * 0.2)
    assert "wasted_cost" not in priced({**FIGURES, **lost}, Prices(co2_kwh=0.4))
    assert "wasted_cost" not in priced(FIGURES, Prices(gpu_hour=2.0, kwh=0.2))


@pytest.mark.parametrize(
    ("prices", "cost"),
    [(Prices(), None), (Prices(kwh=0.2), 0.6), (Prices(gpu_hour=2.0), 8.0), (Prices(overhead=2.0), None)],
)
def test_no_price_no_money(prices: Prices, cost: float | None) -> None:
    """What is known of the two is added up."""
    found = priced(FIGURES, prices)
    assert found["cost"].value == pytest.approx(cost) if cost is not None else "cost" not in found
    assert "co2" not in found


def test_of_what_is_not_known_nothing_is_made() -> None:
    """No zero for a run without figures."""
    assert priced({}, Prices(1.0, 1.0, 1.0)) == {}


def test_factors_come_from_the_environment() -> None:
    """An empty one is none; others are refused by name."""
    environ = {"YOLOSCOPE_PRICE_PER_KWH": "0.2", "YOLOSCOPE_ENERGY_OVERHEAD": "1.4", "YOLOSCOPE_CO2_PER_KWH": ""}
    assert from_environment(environ) == Prices(kwh=0.2, overhead=1.4)
    for wrong in ("-1", "cheap", "inf", "nan"):
        with pytest.raises(ValueError, match="YOLOSCOPE_PRICE_PER_GPU_HOUR must be a number of 0 or more"):
            from_environment({"YOLOSCOPE_PRICE_PER_GPU_HOUR": wrong})
