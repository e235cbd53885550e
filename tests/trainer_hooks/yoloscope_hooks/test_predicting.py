"""What the hooks record of predictions, whoever calls them and however they end."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yoloscope_hooks
from yoloscope_hooks import accounts, inference, inference_callbacks, predicting
from yoloscope_record import catalog
from yoloscope_record.metrics import HistogramValue
from yoloscope_record.reader import Reader, Record

from tests.trainer_hooks.predictor import Predictor, compute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Path]:
    """A record directory of its own, and a process that has recorded nothing yet."""
    for name in ("PYTHONPATH", "YOLOSCOPE_PATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path / "records"))
    monkeypatch.delenv("YOLOSCOPE_RUN", raising=False)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)  # another test's: with it this is no script
    caplog.set_level(logging.WARNING, "yoloscope")
    inference._process.renew()
    yield tmp_path / "records"
    if recording := inference.current("predict"):
        recording.discard()
    inference._process.renew()


def told(base: Path, kind: str = "predict") -> Record:
    """The one record, after its process has given it up: to read it before would give its lock up."""
    recording = inference.current(kind)
    if recording:
        recording.close()
    (path,) = base.glob(f"**/{kind}-0.rec")
    return Reader(path).read()


def values(record: Record) -> dict[str, Any]:
    """Values by the metric's name without prefix, and phases by theirs."""
    found = {s.metric.name[len("yoloscope_predict_") :]: s.value for s in record.samples if len(s.labels) == 2}
    phases = {s.labels[2]: s.value for s in record.samples if s.metric is catalog.PREDICT_PHASE_SECONDS_TOTAL}
    return {**found, **{f"{name}_phase": value for name, value in phases.items()}}


def under_way() -> float:
    """The calls that the record says are under way."""
    recording = inference.current("predict")
    assert recording is not None
    return float(recording._values[recording._slot(catalog.PREDICT_UNDER_WAY)])


def attached(path: Path, **options: Any) -> Predictor:
    """A predictor with our callbacks."""
    return yoloscope_hooks.attach(Predictor(path, **options))


def test_ten_thousand_calls_are_one_run(tmp_path: Path, base: Path) -> None:
    """One record with all of them; what lies between the calls is the thread's work, or nobody's."""
    predictor = attached(tmp_path)
    for _ in range(10_000):
        predictor([1])
    time.sleep(0.05)
    predictor([2])
    seen = values(told(base))
    assert (seen["calls_total"], seen["batches_total"], seen["images_total"]) == (10_001, 10_001, 10_002)
    assert seen["detections_total"] == 2 * 10_002
    assert 0.04 < seen["idle_phase"] < 5
    assert seen["under_way"] == 0
    histogram = seen["image_seconds"]
    assert isinstance(histogram, HistogramValue)
    assert sum(histogram.counts) == 10_001  # all but that of the first batch


def test_time_is_divided(tmp_path: Path, base: Path) -> None:
    """Source, model, who takes the results, and callbacks each have what they took."""
    predictor = attached(tmp_path, wait=0.02, infer=0.01)
    predictor.callbacks["on_predict_postprocess_end"].append(lambda _: time.sleep(0.015))  # as a tracker
    predictor.saving = 0.005
    began = time.perf_counter()
    for _ in predictor([2] * 5, stream=True):
        time.sleep(0.02)
    took = time.perf_counter() - began
    seen = values(told(base))
    slept = {"source": 5 * 0.02, "inference": 5 * 0.01, "user": 10 * 0.02, "callbacks": 4 * 0.015, "save": 5 * 0.005}
    slept["setup"] = 0.015  # of the first batch
    assert {name: length for name, length in slept.items() if seen[f"{name}_phase"] < length} == {}
    assert phases(seen) <= took
    assert 8 * 0.025 <= seen["image_seconds"].sum < 2 * took


def phases(seen: dict[str, Any]) -> float:
    """Seconds of all phases."""
    return float(sum(value for name, value in seen.items() if name.endswith("_phase")))


def in_turn(first: Predictor, second: Predictor) -> None:
    """An ensemble: both are asked about each image."""
    for _ in range(10):
        first([1])
        second([1])


def one_in_the_other(first: Predictor, second: Predictor) -> None:
    """A cascade: what the first one finds is given to the second one."""
    for _ in first([1] * 10, stream=True):
        second([1])


def side_by_side(first: Predictor, second: Predictor) -> None:
    """Two streams."""
    for _ in zip(first([1] * 10, stream=True), second([1] * 10, stream=True), strict=True):
        pass


def in_a_callback(first: Predictor, second: Predictor) -> None:
    """The same as a cascade, by a callback."""
    first.callbacks["on_predict_postprocess_end"].append(lambda _: second([1]))
    first([1] * 10)


@pytest.mark.parametrize("way", [in_turn, one_in_the_other, side_by_side, in_a_callback])
def test_models_of_one_thread_share_its_time(tmp_path: Path, base: Path, way: Callable[..., None]) -> None:
    """What one of them computes is the model's, and no code of the user's beside the other one."""
    first, second = (attached(tmp_path, infer=0.005) for _ in range(2))
    first.computes = second.computes = True
    began = time.perf_counter()
    way(first, second)
    took = time.perf_counter() - began
    seen = values(told(base))
    assert seen["images_total"] == 20
    assert phases(seen) <= took
    assert seen["inference_phase"] >= 20 * 0.005
    around = sum(seen.get(f"{name}_phase", 0.0) for name in ("user", "callbacks", "save", "idle"))
    assert around < 0.25 * seen["inference_phase"]


def test_code_between_two_models_counts_once(tmp_path: Path, base: Path) -> None:
    """It is the user's, whichever of them is called next; the first pause is set-up: models may be made in it."""
    first, second = attached(tmp_path), attached(tmp_path)
    began = time.perf_counter()
    for _ in range(10):
        first([1])
        compute(0.005)
        second([1])
        if began:
            waited, began = began, 0.0
            time.sleep(0.02)
        compute(0.005)
    took = time.perf_counter() - waited - 0.005
    seen = values(told(base))
    assert 17 * 0.005 < seen["user_phase"] < 19 * 0.005 * 1.25
    assert seen["setup_phase"] >= 0.005
    assert seen["idle_phase"] >= 0.02
    assert phases(seen) == pytest.approx(took, rel=0.1)


@pytest.mark.parametrize("models", [4, 12])
def test_a_model_for_each_image(tmp_path: Path, base: Path, models: int) -> None:
    """To make one is the user's doing where there are more than a program has; the first few are set-up."""
    for _ in range(models):
        compute(0.01)
        attached(tmp_path)([1, 1])
    seen = values(told(base))
    assert ("load_phase" in seen) is (models > 4)
    assert "user_phase" not in seen or seen["user_phase"] < 0.01
    assert seen.get("load_phase", 0.0) >= (models - 4) * 0.01


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_training_between_calls_is_no_code_of_the_users(tmp_path: Path, base: Path, *, elsewhere: bool) -> None:
    """A callback that predicts after each epoch: meanwhile nothing was asked for."""
    predictor = attached(tmp_path)
    for _ in range(5):
        predictor([1])
        compute(0.01)
        if elsewhere:
            accounts.elsewhere()
    predictor([1])
    seen = values(told(base))
    used, waited = ("idle", "user") if elsewhere else ("user", "idle")
    assert seen[f"{used}_phase"] >= 5 * 0.009
    if elsewhere:
        assert seen[f"{waited}_phase"] < 0.25 * seen[f"{used}_phase"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_training_while_results_wait_is_no_code_of_the_users(tmp_path: Path, base: Path, *, elsewhere: bool) -> None:
    """A generator that is not finished: what a validation or a training has a record of is nobody's here."""
    predictor = attached(tmp_path)
    for number, _ in enumerate(predictor([1] * 4, stream=True)):
        time.sleep(0.01)
        if elsewhere and number == 1:
            time.sleep(0.05)
            accounts.elsewhere()
    seen = values(told(base))
    assert seen["user_phase"] >= (3 if elsewhere else 4) * 0.01
    assert (seen.get("idle_phase", 0.0) >= 0.06) is elsewhere
    assert seen["user_phase"] < 0.06
    assert (seen["images_total"], seen["under_way"], seen["calls_total"]) == (4, 0, 1)


def test_to_open_a_source_is_the_sources_time(tmp_path: Path, base: Path) -> None:
    """To download a file, or to decode the images of a list, is no set-up; a predictor's first call is."""
    predictor = attached(tmp_path)
    predictor.opening = 0.01
    for _ in range(5):
        predictor([1])
    seen = values(told(base))
    assert seen["source_phase"] >= 4 * 0.01
    assert seen.get("setup_phase", 0.0) < 0.01


#: The events of a prediction, with the batches that are done when its callback of the user's raises at the first one.
EVENTS = {"start": 0, "batch_start": 0, "postprocess_end": 0, "batch_end": 1, "end": 2}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", [False, True])
def test_callbacks_of_others_are_the_users_own(tmp_path: Path, base: Path, event: str, *, before: bool) -> None:
    """At whatever event, and whether they were registered before our own: they look like the source otherwise."""
    predictor = Predictor(tmp_path)
    predictor.callbacks[f"on_predict_{event}"] = [lambda _: compute(0.02)] if before else []
    yoloscope_hooks.attach(predictor)
    if not before:
        predictor.callbacks[f"on_predict_{event}"].append(lambda _: compute(0.02))
    for _ in range(5):
        predictor([1])
    seen = values(told(base))
    own = [seen.get(f"{phase}_phase", 0.0) for phase in ("callbacks", "user")]
    if before and event == "start":  # the call has not begun for us
        own.append(seen["setup_phase"])
    assert sum(own) >= 4 * 0.02
    assert seen.get("source_phase", 0.0) < sum(own)


def test_callbacks_take_turns_as_before(tmp_path: Path) -> None:
    """Each of others is called once in each call, in its order, also one that comes after the first call."""
    predictor, called = Predictor(tmp_path), []
    predictor.callbacks["on_predict_start"] = [lambda _: called.append(1)]
    yoloscope_hooks.attach(predictor)
    predictor.callbacks["on_predict_start"] += [lambda _: called.append(2), lambda _: called.append(3)]
    predictor([1])
    predictor.callbacks["on_predict_start"].append(lambda _: called.append(4))
    for _ in range(2):
        predictor([1])
    assert called == [1, 2, 3, 1, 2, 3, 4, 1, 2, 3, 4]
    assert predictor.callbacks["on_predict_start"][-1] is inference_callbacks.on_predict_started


def test_results_that_a_callback_has_replaced(tmp_path: Path, base: Path) -> None:
    """Ultralytics tells its times in the results: what a callback from before ours makes of them tells none."""
    predictor = Predictor(tmp_path, infer=0.01)
    predictor.callbacks["on_predict_batch_end"] = [lambda p: setattr(p, "results", zip(p.results, "a", strict=True))]
    yoloscope_hooks.attach(predictor)
    for _ in range(5):
        assert [name for _, name in predictor([1])] == ["a"]
    seen = values(told(base))
    assert seen["inference_phase"] >= 5 * 0.01
    assert seen["detections_total"] == 10
    assert seen.get("callbacks_phase", 0.0) < 0.01


def test_each_result_taken_by_another_thread(tmp_path: Path, base: Path) -> None:
    """As a web server does with a generator: all is counted, once, and the call has an end."""
    began = time.perf_counter()
    generator, found = attached(tmp_path, infer=0.002)([1] * 10, stream=True), []
    for _ in range(11):
        thread = threading.Thread(target=lambda: found.append(next(generator, None)))
        thread.start()
        thread.join()
    took = time.perf_counter() - began
    assert (found[-1], len(found), under_way()) == (None, 11, 0)
    seen = values(told(base))
    assert (seen["batches_total"], seen.get("abandoned_total", 0)) == (10, 0)
    assert phases(seen) <= took


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_callback_of_the_users_that_raises(tmp_path: Path, base: Path, event: str, *, stream: bool) -> None:
    """Its error goes on as it is, in a first call and in a later one, and no call stays under way."""

    def fail(_: Predictor) -> None:
        raise ZeroDivisionError

    predictor = attached(tmp_path)
    for _ in range(2):
        predictor.callbacks[f"on_predict_{event}"].append(fail)
        with pytest.raises(ZeroDivisionError):
            list(predictor([1, 1], stream=stream))
        gc.collect()
        assert under_way() == 0
        predictor.callbacks[f"on_predict_{event}"].remove(fail)
        list(predictor([1, 1], stream=stream))
        assert under_way() == 0
    seen = values(told(base))
    assert (seen["calls_total"], seen["batches_total"]) == (4, 2 * (2 + EVENTS[event]))


def test_a_dropped_generator_ends_well(tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is no longer under way, whether it was the predictor's first call or a later one, and it is counted."""
    predictor = attached(tmp_path)
    for _ in range(2):
        generator = predictor([3, 3, 3], stream=True)
        next(generator)
        next(generator)
        del generator
        gc.collect()
        assert under_way() == 0
    predictor([1])
    seen = values(told(base))
    assert (seen["calls_total"], seen["abandoned_total"], seen["batches_total"]) == (3, 2, 3)
    assert seen["under_way"] == 0
    assert not caplog.records


def test_a_generator_dropped_last_is_counted(tmp_path: Path, base: Path) -> None:
    """Also when nothing comes after it."""
    generator = attached(tmp_path)([3, 3], stream=True)
    next(generator)
    generator.close()
    assert values(told(base))["abandoned_total"] == 1


def test_to_look_at_some_results_is_not_to_drop_them(tmp_path: Path, base: Path) -> None:
    """A callback that breaks out of its loop over the results looks like a dropped generator for a moment."""
    predictor = attached(tmp_path)
    predictor.callbacks["on_predict_batch_end"].append(lambda p: next(iter(p.results)))
    predictor([1, 1, 1])
    seen = values(told(base))
    assert seen.get("abandoned_total", 0) == 0
    assert (seen["batches_total"], seen["under_way"]) == (3, 0)


@pytest.mark.parametrize("part", ["source", "inference"])
def test_a_call_that_raises(tmp_path: Path, base: Path, part: str) -> None:
    """The error goes on as it is, and the call is no longer under way."""
    predictor = attached(tmp_path)
    predictor([1])
    predictor.fails_in = part
    with pytest.raises(ValueError, match=part):
        predictor([1])
    assert under_way() == 0
    predictor.fails_in = ""
    predictor([1])
    assert values(told(base))["batches_total"] == 2


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_call_raises(tmp_path: Path, base: Path, *, stream: bool) -> None:
    """Also a predictor's first call is under way only while its loop runs, whatever the predictor does then."""
    seen: list[float] = []
    predictor = attached(tmp_path)

    def interrupt(_: Predictor) -> None:
        seen.append(under_way())
        if len(seen) == 2:
            raise KeyboardInterrupt

    predictor.callbacks["on_predict_batch_start"].append(interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        list(predictor([1, 1, 1], stream=stream))
    del caught
    gc.collect()
    assert (seen, under_way()) == ([1, 1], 0)
    predictor([1])
    assert (seen, under_way()) == ([1, 1, 1], 0)


def test_what_a_shell_does(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the frames of an error and goes on: a first call is not said to be under way, nor the end a failure."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    predictor = attached(tmp_path)
    predictor.fails_in = "inference"
    kept = None
    try:
        predictor([1])
    except ValueError as error:
        kept = error
    monkeypatch.setattr(sys, "last_value", kept, raising=False)
    assert under_way() == 0
    predictor.fails_in = ""
    generator = predictor([1, 1], stream=True)
    next(generator)
    assert under_way() == 1  # seen from its begin on
    list(generator)
    assert told(base).state == "finished"


def test_an_empty_source(tmp_path: Path, base: Path) -> None:
    """A call without a batch is a call."""
    assert attached(tmp_path)([]) == []
    seen = values(told(base))
    assert (seen["calls_total"], seen["under_way"]) == (1, 0)
    assert "batches_total" not in seen


def test_results_stay_what_they_are(tmp_path: Path) -> None:
    """For the user a batch's results are a list, also pickled, and in whatever another callback has made of them."""
    predictor = attached(tmp_path)
    predictor([2])
    assert isinstance(predictor.results, list)
    assert type(pickle.loads(pickle.dumps(predicting.Results([1], None)))) is list  # type: ignore[arg-type]
    predictor.callbacks["on_predict_batch_end"].append(
        lambda p: setattr(p, "results", zip(p.results, "ab", strict=False))
    )
    assert [pair[1] for pair in predictor([2])] == ["a", "b"]
    predictor.callbacks["on_predict_batch_end"].insert(
        0, lambda p: setattr(p, "results", zip(p.results, "cd", strict=False))
    )
    assert [pair[1] for pair in predictor([2])] == ["a", "b"]


def test_a_predictor_goes_with_its_last_user(tmp_path: Path) -> None:
    """Nothing of ours holds it, or the memory of the GPU with it."""
    predictor = attached(tmp_path)
    predictor([1])
    predictor([1])
    reference = weakref.ref(predictor)
    gc.disable()
    try:
        generator = predictor([1, 1], stream=True)
        del predictor
        assert len(list(generator)) == 2  # who has its generator needs nothing else
        del generator
        assert reference() is None
    finally:
        gc.enable()


def test_two_predictors_and_four_threads(tmp_path: Path, base: Path) -> None:
    """All are counted, each of them once, and times of different threads do not run into each other."""
    shared, own = attached(tmp_path, infer=0.001), attached(tmp_path, infer=0.001)

    def work(predictor: Predictor) -> None:
        for _ in range(50):
            predictor([2])

    threads = [threading.Thread(target=work, args=(one,)) for one in (shared, shared, own, attached(tmp_path))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    record = told(base)
    seen = values(record)
    assert (seen["calls_total"], seen["batches_total"], seen["images_total"]) == (200, 200, 400)
    assert seen["under_way"] == 0
    assert sum(value for name, value in seen.items() if name.endswith("_phase")) <= 4 * took
    assert not record.torn


def test_one_warning_and_off(tmp_path: Path, base: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be recorded is said once, and leaves no record that looks like a hang."""
    predictor = attached(tmp_path)
    predictor([1])
    predictor.batch = None
    for callback in predictor.callbacks["on_predict_batch_start"]:
        callback(predictor)  # without a batch
    assert len(predictor([1, 1])) == 2
    assert [record.getMessage().startswith("yoloscope: recording of predict is off") for record in caplog.records] == [
        True
    ]
    assert list(base.glob("**/*.rec")) == []


def test_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without a place for it there is one warning."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path / "file"))
    predictor = attached(tmp_path)
    assert len(predictor([1, 1])) + len(predictor([1])) == 3
    assert len(caplog.records) == 1


def test_opt_out(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`YOLOSCOPE=off` after the hooks were attached."""
    predictor = attached(tmp_path)
    monkeypatch.setenv("YOLOSCOPE", "off")
    predictor([1])
    assert not base.exists()


def test_names(tmp_path: Path, base: Path) -> None:
    """The user's name with the kind, so that one process can do several things; else Ultralytics' folder and time."""
    yoloscope_hooks.attach(Predictor(tmp_path), run="night")([1])
    assert told(base).identity.run == "night-predict"
    inference._process.renew()
    named = Predictor(tmp_path)
    named.save_dir = tmp_path / "detect" / "mine"
    yoloscope_hooks.attach(named)([1])
    recording = inference.current("predict")
    assert recording is not None
    assert recording.path.parent.name.startswith("detect-mine-predict-")


def test_facts(tmp_path: Path, base: Path) -> None:
    """Those of the latest call, but not anew with every one of two that take turns."""
    predictor = attached(tmp_path, kind="tensor")
    predictor([1], stream=True)
    list(predictor([1], stream=True))
    facts = told(base).facts
    assert {name: facts[name] for name in ("mode", "task", "model", "format", "precision", "source", "stream")} == {
        "mode": "predict",
        "task": "detect",
        "model": "yolo11n.pt",
        "format": "pt",
        "precision": "fp32",
        "source": "tensor",
        "stream": "True",
    }


def test_facts_of_predictors_that_take_turns(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are of both, so what differs is not said; of one that comes after another the latest is."""
    monkeypatch.setattr(inference, "FACTS_REST", 0.0)
    recording, small, large = None, attached(tmp_path), attached(tmp_path)
    large.args.model, large.args.max_det = "yolo11x.pt", 300
    seen = []
    for one in (small, large, small, large, small):
        one([1])
        recording = inference.current("predict")
        assert recording is not None
        seen.append((recording._facts.get("model"), recording._facts.get("max_det"), recording._facts["task"]))
    differs = (None, None, "detect")
    assert seen == [("yolo11n.pt", None, "detect"), ("yolo11x.pt", "300", "detect"), differs, differs, differs]
    facts = told(base).facts
    assert (facts.get("model", ""), facts.get("max_det", ""), facts["task"]) == ("", "", "detect")


def test_sources_of_predictors_that_take_turns(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are told: a camera sets the pace, whatever else is looked at beside it."""
    monkeypatch.setattr(inference, "FACTS_REST", 0.0)
    camera, cuts = attached(tmp_path, kind="stream"), attached(tmp_path)
    for one in (camera, cuts, camera, cuts):
        one([1])
    assert told(base).facts["source"] == "images,stream"


def test_facts_of_a_call_within_another(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is described once, at its begin: what is called meanwhile does not take its place."""
    monkeypatch.setattr(inference, "FACTS_REST", 0.0)
    camera, cuts = attached(tmp_path, kind="stream"), attached(tmp_path)
    cuts.args.model = "yolo11n-cls.pt"
    for _ in camera([1, 1], stream=True):
        cuts([1])
    facts = told(base).facts
    assert (facts["source"], facts.get("model", "")) == ("images,stream", "")


def test_facts_rest_as_long_as_they_cost(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a predictor for each image: a hundredth of the time at most, and the latest a moment later."""
    moments: list[float] = []
    clock, gather = {"now": 100.0}, inference.inference_facts.gather

    def counted(*owner: Any) -> dict[str, str]:
        moments.append(clock["now"])
        clock["now"] += 0.002
        return gather(*owner)

    monkeypatch.setattr(inference.inference_facts, "gather", counted)
    first = attached(tmp_path)
    first([1])
    recording = inference.current("predict")
    assert recording is not None
    for name in ("perf_counter", "thread_time"):
        monkeypatch.setattr(inference.time, name, lambda: clock["now"])
    recording._due = 0.0
    moments.clear()
    for number in range(100):
        one = Predictor(tmp_path)
        one.args.model = f"{number}.pt"
        clock["now"] += 0.01
        recording.describe(one, "predict", clock["now"])
    assert min(later - earlier for earlier, later in pairwise(moments)) >= 0.2
    assert 4 <= len(moments) <= 6
    clock["now"] += 0.2
    recording.describe(one, "predict", clock["now"])
    assert recording._facts["model"] == "99.pt"


def test_cuda_memory(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's allocator is asked once a second and for nothing else: what this one lacks would be an error."""
    asked = []

    def stats(device: Any) -> dict[str, Any]:
        asked.append(device)
        return {f"{kind}_bytes": {"all": {"current": 5.0, "peak": 7.0}} for kind in ("allocated", "reserved")}

    cuda = SimpleNamespace(
        memory_stats_as_nested_dict=stats,
        is_initialized=lambda: True,
        get_device_properties=lambda _: SimpleNamespace(name="NVIDIA H100", major=9, minor=0, uuid="9"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, __version__="2.8", version=None))
    predictor = attached(tmp_path)
    predictor.device = SimpleNamespace(type="cuda", index=0)
    predictor([1] * 20)
    record = told(base)
    assert len(asked) == 1
    found = {s.labels[2]: s.value for s in record.samples if s.metric is catalog.PREDICT_CUDA_MEMORY_BYTES}
    assert found == {"allocated": 5, "peak_allocated": 7, "reserved": 5, "peak_reserved": 7}
    assert (record.facts["capability"], record.facts["device_name"]) == ("9.0", "NVIDIA H100")
    assert record.facts["gpu_uuid"] == "GPU-9"


def _child(path: str) -> None:
    attached(Path(path))([1, 1])


def test_a_forked_child_has_its_own_record(tmp_path: Path, base: Path) -> None:
    """And ends it, though such a process ends without `atexit`."""
    predictor = attached(tmp_path)
    predictor([1])
    child = multiprocessing.get_context("fork").Process(target=_child, args=(str(tmp_path),))
    child.start()
    child.join()
    predictor([1, 1, 1])
    recording = inference.current("predict")
    assert recording is not None
    recording.close()
    found = sorted((values(record)["batches_total"], record.state) for record in map(_read, base.glob("**/*.rec")))
    assert found == [(2, "finished"), (4, "finished")]


def _read(path: Path) -> Record:
    return Reader(path).read()


SCRIPT = """
import pathlib, sys
import yoloscope_hooks
from tests.trainer_hooks.predictor import Predictor
predictor = yoloscope_hooks.attach(Predictor(pathlib.Path(sys.argv[1])))
predictor([1, 1])
{end}
"""


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ("", "finished"),
        ("sys.exit(3)", "finished"),
        ("raise ValueError('x')", "failed"),
        ("raise KeyboardInterrupt", "stopped"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", "stopped"),
        ("import os; os._exit(1)", "predict"),
    ],
)
def test_how_a_process_ends(tmp_path: Path, base: Path, end: str, state: str) -> None:
    """An error of the program is a failure; of a process that is just gone the exporter says that it was killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "trainer_hooks")))}
    command = [sys.executable, "-c", SCRIPT.format(end=end), str(tmp_path)]
    subprocess.run(command, env=environment, check=False, capture_output=True)
    record = told(base)
    assert (record.state, record.alive, values(record)["images_total"]) == (state, False, 2)


def test_old_readers_refuse_it(tmp_path: Path, base: Path) -> None:
    """An exporter from before these records says `header` and goes on: its kinds were rank and worker."""
    attached(tmp_path)([1])
    assert told(base).identity.kind not in ("rank", "worker")
