"""The PromQL helpers: what they write, and what they refuse."""

from __future__ import annotations

import pytest
from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures.formula import TARGET, Formula, OverTime, Selector, age, last, quantile, rate
from yoloscope_exporter.measures.promql import Scope, by_epoch, joined, known, render, since, total, zero

ALL = Scope(())
RUN = Scope((*TARGET, "run", "rank"), nodes="node")


def test_a_scope_narrows_by_the_labels_a_metric_has() -> None:
    """Variables whose label the metric lacks are left out; a run is matched as it stands, its nodes by variable."""
    assert str(RUN(m.TRAIN_EPOCH)) == (
        'yoloscope_train_epoch{cluster=~"$cluster", job=~"$job", instance=~"$instance", '
        'run=~`${run:regex}`, rank=~"$rank"}'
    )
    assert str(RUN(m.CPU_CORES)) == (
        'yoloscope_cpu_cores{cluster=~"$cluster", job=~"$job", instance=~"$instance", instance=~"$node"}'
    )
    assert str(ALL(m.TRAIN_EPOCH)) == "yoloscope_train_epoch"


def test_label_values_may_bring_their_operator() -> None:
    """A plain value is compared for equality."""
    assert str(ALL(m.CPU_SECONDS_TOTAL, mode="!~idle|iowait")) == 'yoloscope_cpu_seconds_total{mode!~"idle|iowait"}'
    assert str(ALL(m.TRAIN_STATE, state="train")) == 'yoloscope_train_state{state="train"}'


def test_a_label_that_does_not_exist_is_refused() -> None:
    """The message names the metric, the label and what there is."""
    with pytest.raises(ValueError, match=r"yoloscope_train_epoch has no label gpu; it has \('run', 'rank'\)"):
        ALL(m.TRAIN_EPOCH, gpu="0")


def test_a_rate_of_a_gauge_is_refused() -> None:
    """Only counters and histograms grow."""
    with pytest.raises(ValueError, match="yoloscope_train_epoch is a gauge; rate takes counters"):
        ALL.rate(m.TRAIN_EPOCH)


def test_a_histogram_needs_its_part_and_nothing_else_has_one() -> None:
    """A bare histogram name is no series."""
    with pytest.raises(ValueError, match="is a histogram"):
        ALL(m.TRAIN_STEP_SECONDS)
    with pytest.raises(ValueError, match="is a gauge"):
        ALL(m.TRAIN_EPOCH, "_bucket")


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        (m.TRAIN_PHASE_SECONDS_TOTAL, "ratio"),
        (m.GPU_ENERGY_JOULES_TOTAL, "watts"),
        (m.DISK_READ_BYTES_TOTAL, "bytes/s"),
        (m.TRAIN_BATCHES_TOTAL, "/s"),
    ],
)
def test_a_rate_has_the_unit_of_its_metric_per_second(metric: m.Metric, unit: str) -> None:
    """Seconds per second are a ratio, joules per second are watts."""
    assert ALL.rate(metric).unit == unit


def test_units_of_quotients() -> None:
    """The same over the same is a ratio; anything else has to be said."""
    assert (ALL(m.MEMORY_USED_BYTES) / ALL(m.MEMORY_TOTAL_BYTES)).unit == "ratio"
    assert (ALL(m.MEMORY_USED_BYTES) / ALL(m.CPU_CORES)).unit == ""
    assert (ALL(m.MEMORY_USED_BYTES) / 2).unit == "bytes"


def test_nothing_is_divided_by_zero() -> None:
    """A series whose divisor is zero is left out: neither NaN nor infinity is ever shown."""
    used, cores = ALL(m.MEMORY_USED_BYTES), ALL(m.CPU_CORES)
    assert str(used / cores) == "(yoloscope_memory_used_bytes) / ((yoloscope_cpu_cores) > 0)"
    assert str(used.per(cores, ["instance"])).endswith("group_left () ((yoloscope_cpu_cores) > 0)")


def test_quantiles_of_histograms() -> None:
    """The bucket label survives inside, and is gone outside."""
    assert str(ALL.quantile(0.95, m.TRAIN_STEP_SECONDS, "rank")) == (
        "histogram_quantile(0.95, sum by (le, rank) (rate(yoloscope_train_step_seconds_bucket[$__rate_interval]))) >= 0"
    )


def test_what_is_missing_what_is_zero_and_what_is_not_there() -> None:
    """n/a is -1 where something else tells that the thing exists; a count of nothing is 0."""
    value, there = ALL(m.GPU_SM_ACTIVE_RATIO), ALL(m.GPU_INFO)
    assert str(known(value, there)) == "(yoloscope_gpu_sm_active_ratio) or ((yoloscope_gpu_info) * 0 - 1)"
    assert str(zero(value, there)) == "(yoloscope_gpu_sm_active_ratio) or ((yoloscope_gpu_info) * 0)"


def test_joins_keep_the_labels_of_the_info_metric() -> None:
    """The measured side is unique per GPU; several runs may name the same GPU."""
    join = joined(ALL(m.TRAIN_DEVICE_INFO), ALL(m.GPU_POWER_WATTS), ("instance", "gpu"))
    assert str(join) == ("(yoloscope_train_device_info) * on (instance, gpu) group_left () (yoloscope_gpu_power_watts)")
    assert join.unit == "watts"


def test_curves_over_epochs_make_the_epoch_a_label() -> None:
    """One row for each epoch, of one run."""
    curve = by_epoch(total("max", ALL(m.TRAIN_EPOCH), "run"), total("max", ALL(m.TRAIN_LOSS), "run"))
    assert str(curve) == (
        "max by (epoch) (last_over_time(("
        '(count_values by (run) ("epoch", max by (run) (yoloscope_train_epoch))) * on (run) group_left () '
        "(max by (run) (yoloscope_train_loss)))[$__range:$__interval]))"
    )


def test_ages_are_seconds() -> None:
    """Of a Unix time."""
    age = since(ALL(m.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS))
    assert (str(age), age.unit) == ("time() - (yoloscope_train_last_batch_timestamp_seconds)", "seconds")


def test_a_formula_is_rendered_under_a_scope() -> None:
    """Its open totals keep what is asked for; its increases take the window; a divisor must be above zero."""
    wait = rate(m.TRAIN_PHASE_SECONDS_TOTAL, phase="data_wait").total("sum")
    share = wait / rate(m.TRAIN_PHASE_SECONDS_TOTAL).total("sum")
    assert str(render(share, Scope(("instance",)), "rank", window="5m")) == (
        'sum by (rank) (rate(yoloscope_train_phase_seconds_total{instance=~"$instance", phase="data_wait"}[5m])) / '
        '(sum by (rank) (rate(yoloscope_train_phase_seconds_total{instance=~"$instance"}[5m])) > 0)'
    )


def test_parts_of_a_window_look_back() -> None:
    """The first quarter of twenty minutes ended fifteen minutes ago; Grafana's window has no such parts."""
    first = OverTime("min", Selector(m.MEMORY_AVAILABLE_BYTES), 0, 4)
    assert str(render(first, ALL, window="20m")) == "min_over_time(yoloscope_memory_available_bytes[300s] offset 900s)"
    with pytest.raises(ValueError, match="must be a number and a unit, such as 20m"):
        render(first, ALL)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (last(m.CPU_CORES).compared(">", 2), "yoloscope_cpu_cores > 2"),
        (last(m.CPU_CORES).clamped(least=0, most=1), "clamp_max(clamp_min(yoloscope_cpu_cores, 0), 1)"),
        (last(m.TRAIN_EPOCH).where(last(m.TRAIN_UP), ["run"]), "yoloscope_train_epoch and on (run) yoloscope_train_up"),
        (last(m.TRAIN_EPOCH).unless(last(m.TRAIN_UP)), "yoloscope_train_epoch unless yoloscope_train_up"),
        (last(m.TRAIN_EPOCH).or_(last(m.TRAIN_EPOCHS)), "yoloscope_train_epoch or yoloscope_train_epochs"),
        (age(m.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS), "time() - yoloscope_train_last_batch_timestamp_seconds"),
        (
            last(m.TRAIN_DEVICE_INFO).joined("*", last(m.GPU_POWER_WATTS), ("gpu",)),
            "yoloscope_train_device_info * on (gpu) group_left () yoloscope_gpu_power_watts",
        ),
        (
            quantile(0.5, m.TRAIN_STEP_SECONDS),
            "histogram_quantile(0.5, sum by (le) (rate(yoloscope_train_step_seconds_bucket[5m]))) >= 0",
        ),
    ],
)
def test_each_kind_of_formula(formula: Formula, text: str) -> None:
    """One line of PromQL each."""
    assert str(render(formula, ALL, window="5m")) == text
