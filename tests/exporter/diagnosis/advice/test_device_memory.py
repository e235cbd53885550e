"""A batch fits beside what others hold of the device's memory."""

from __future__ import annotations

from yoloscope_exporter.diagnosis.advice.batch import larger_batch, smaller_batch
from yoloscope_exporter.diagnosis.advice.device_memory import batch_that_fits

from tests.exporter.diagnosis.advice.cases import GIB, device, signals


def test_batch_from_peak_memory() -> None:
    """8 GiB of weights and 1 GiB per image: 0.85 x 80 GiB has room for 60, rounded down to 56."""
    assert batch_that_fits(signals(**device(80, 24, 8), batch_size=16.0)) == 56
    assert batch_that_fits(signals(**device(80, 24, 8))) is None


def test_memory_that_others_hold_is_not_given_away() -> None:
    """Of the 80 GiB another process has 16: 68 - 16 - 8 leave 44 images, rounded down to 40."""
    assert batch_that_fits(signals(**device(80, 24, 8, gpu_memory_used_share=0.5), batch_size=16.0)) == 40


def test_what_others_hold_is_what_is_in_use_and_not_reserved_now() -> None:
    """Review r25: the peak was 38 GiB (validation), 14 are reserved now, and another process holds 25.

    Less the peak only 1 GiB would be others', and a batch of 64 would have been advised, which takes 139 GiB.
    """
    shared = device(80, 38, 5, cuda_reserved_bytes=14 * GIB, gpu_memory_used_share=39 / 80)
    one = signals(**shared, batch_size=16.0, epoch_images=1e5)
    assert batch_that_fits(one) == 16
    assert larger_batch(one) is None


def test_a_peak_of_an_older_batch_counts_for_nothing() -> None:
    """Review r12: 32 images ran out of memory at 79 GiB; halved to 16, they take 42, so 2.3 GiB each: 27 fit."""
    halved = device(80, 42, 5, cuda_peak_bytes=79 * GIB, gpu_memory_used_share=43 / 80, batch_reductions=1.0)
    found = smaller_batch(signals(**halved, batch_size=16.0))
    assert batch_that_fits(signals(**halved, batch_size=16.0)) == 24
    assert found.arguments == {"batch": 16}
    without = {
        name: number for name, number in halved.items() if not name.endswith(("batch_peak_bytes", "reserved_bytes"))
    }
    assert batch_that_fits(signals(**without, batch_size=16.0)) == 24, "a peak above all that is in use is no peak"
