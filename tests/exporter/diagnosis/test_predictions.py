"""Verdicts on predictions: each told on its own evidence, and nothing of a training told of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import catalog as c
from yoloscope_exporter.catalog import HistogramValue, Sample
from yoloscope_exporter.diagnosis import rules, signals
from yoloscope_exporter.diagnosis.engine import judge
from yoloscope_exporter.diagnosis.live import Live
from yoloscope_exporter.diagnosis.serialize import from_json, to_json
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS, SOURCES
from yoloscope_exporter.diagnosis.time_range import diagnose_range
from yoloscope_exporter.language.translation import is_known
from yoloscope_exporter.measures.series import Store, Window
from yoloscope_exporter.recordings.reader import read
from yoloscope_exporter.terminal import screen
from yoloscope_exporter.terminal.diagnosis import exit_code, to_text

from tests.training import ROOT

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.engine import Diagnosis

RUN = ("detect/predict-1", "0")
BASE = {"preprocess": 0.002, "inference": 0.02, "postprocess": 0.002}
FACTS = {"mode": "predict", "task": "detect", "format": "pt", "precision": "fp32", "device": "cpu", "source": "files"}
CUDA = {"device": "cuda:0", "device_name": "NVIDIA H100", "capability": "9.0", "gpu_uuid": "GPU-9", "precision": "fp16"}


def samples(
    second: float,
    phases: dict[str, float],
    *,
    batch: int = 1,
    boxes: float = 3.0,
    busy: float | None = None,
    state: str = "predict",
    calls: float = 1.0,
    **facts: str,
) -> list[Sample]:
    """What an exporter shows after so many seconds of batches that take `phases` each, one after the other."""
    told = {**FACTS, **facts}
    batches = second / sum(phases.values())
    images = batch * batches
    counts = [0.0] * (len(c.IMAGE_BUCKETS) + 1)
    counts[6] = float(int(images))
    found = [
        Sample(c.PREDICT_RUN_INFO, (*RUN, *(told.get(name, "") for name in c.PREDICT_FACTS)), 1.0),
        Sample(c.PREDICT_UP, RUN, float(state in c.PREDICTIONS)),
        *(Sample(c.PREDICT_STATE, (*RUN, one), float(one == state)) for one in c.PREDICT_STATES),
        Sample(c.PREDICT_BATCHES_TOTAL, RUN, batches),
        Sample(c.PREDICT_IMAGES_TOTAL, RUN, images),
        Sample(c.PREDICT_DETECTIONS_TOTAL, RUN, boxes * images),
        Sample(c.PREDICT_CALLS_TOTAL, RUN, calls if calls == 1 else calls * batches),
        Sample(c.PREDICT_IMAGE_SECONDS, RUN, HistogramValue(tuple(counts), 0.024 * images)),
        *(Sample(c.PREDICT_PHASE_SECONDS_TOTAL, (*RUN, name), batches * one) for name, one in phases.items()),
    ]
    if busy is not None:
        found.append(Sample(c.GPU_INFO, ("0", "GPU-9", "NVIDIA H100", "580", "13.0", "0"), 1.0))
        found.append(Sample(c.GPU_BUSY_SECONDS_TOTAL, ("0",), busy * second))
    return found


def recorded(phases: dict[str, float], **how: object) -> Store:
    """Those of each of forty seconds."""
    store = Store()
    for second in range(40):
        store.add(1000.0 + second, samples(float(second), {**BASE, **phases}, **how))  # type: ignore[arg-type]
    return store


def predicted(phases: dict[str, float], **how: object) -> tuple[Store, Diagnosis]:
    """Those, and what is said of all of them."""
    store = recorded(phases, **how)
    (told,) = diagnose_range([store]).diagnoses
    return store, told


def names(told: Diagnosis) -> set[str]:
    """Of the verdicts."""
    return {verdict.name for verdict in told.verdicts}


@pytest.mark.parametrize(
    ("phases", "how", "expected", "fix"),
    [
        ({}, {}, {"inference_bound"}, "faster still: yolo export format=openvino"),
        ({"source": 0.02}, {"source": "video"}, {"source_bound"}, "vid_stride=2"),
        ({"source": 0.02}, {"source": "files"}, {"source_bound"}, "local SSD"),
        ({"source": 0.02}, {"ultralytics": "8.4.190"}, {"source_bound"}, "batch=8 reads eight files at once"),
        ({"source": 0.02}, {"source": "camera"}, {"inference_bound"}, ""),
        ({"source": 0.02}, {"source": "camera,images"}, {"inference_bound"}, ""),
        ({"source": 0.02}, {"source": "images,video"}, {"source_bound"}, "vid_stride=2"),
        ({"source": 0.004}, {"source": "video"}, {"inference_bound"}, ""),
        ({"postprocess": 0.02}, {"boxes": 250, "conf": "0.001", "max_det": "300"}, {"postprocess_bound"}, "conf=0.25"),
        (
            {"postprocess": 0.02},
            {"boxes": 250, "conf": "0.001", "max_det": "300"},
            {"postprocess_bound"},
            "max_det=100",
        ),
        ({"user": 0.03}, {}, {"user_code_bound"}, "in a thread or process of its own"),
        ({"load": 0.03, "user": 0.01}, {}, {"user_code_bound"}, "make the model once"),
        ({"user": 0.03}, {"calls": 2.0}, {"user_code_bound"}, "pass several images in one call"),
        ({"save": 0.03}, {}, {"user_code_bound"}, "save=False"),
        ({"save": 0.03}, {"saves": "save_txt,save_crop"}, {"user_code_bound"}, "save_txt=False save_crop=False; keep"),
        ({"save": 0.03}, {"saves": "none"}, {"user_code_bound"}, "verbose=False prints nothing"),
        ({"preprocess": 0.02}, {"source": "images"}, {"predict_preprocess_bound"}, "pass tensors"),
        ({"preprocess": 0.02}, {"task": "classify"}, {"predict_preprocess_bound"}, "scale the images down"),
        ({"preprocess": 0.006, "postprocess": 0.006, "user": 0.006, "inference": 0.012}, {}, {"inference_bound"}, ""),
        ({"callbacks": 0.03}, {}, {"user_code_bound"}, "without ReID"),
        ({"idle": 0.5, "setup": 0.5}, {}, {"inference_bound"}, ""),
        ({}, {**CUDA, "busy": 0.2, "stream": "False"}, {"small_inference_batch"}, "batch=8 stream=True"),
        (
            {},
            {**CUDA, "busy": 0.2, "calls": 2.0},
            {"small_inference_batch"},
            "pass several images in one call, as a list",
        ),
        ({}, {**CUDA, "busy": 0.2, "source": "images"}, {"small_inference_batch"}, "pass several images in one call"),
        ({"idle": 0.2}, {**CUDA, "busy": 0.1}, {"inference_bound"}, ""),  # it has little to do, and then it is busy
        ({"idle": 0.2}, {**CUDA, "busy": 0.03}, {"small_inference_batch"}, "batch=8"),
        ({}, {**CUDA, "busy": 0.9}, {"inference_bound"}, "format=engine"),
        ({}, {**CUDA, "busy": 0.2, "batch": 16}, {"inference_bound"}, ""),
        ({}, {**CUDA, "precision": "fp32"}, {"precision", "inference_bound"}, "half=True"),
        ({}, {**CUDA, "precision": "fp32", "device_name": "NVIDIA GeForce GTX 1660"}, {"inference_bound"}, ""),
        ({}, {**CUDA, "precision": "fp32", "capability": "6.1"}, {"inference_bound"}, ""),
        ({}, {**CUDA, "precision": "fp32", "busy": 0.3, "batch": 16}, {"inference_bound"}, ""),  # FP16 idles even more
        ({}, {**CUDA, "precision": "fp32", "busy": 0.7}, {"precision", "inference_bound"}, "half=True"),
        (
            {"postprocess": 0.02},
            {"boxes": 0, "source": "tensor"},
            {"postprocess_bound"},
            "a tensor's images are copied back",
        ),
        ({"postprocess": 0.02}, {"boxes": 0}, {"postprocess_bound"}, "there are hardly any boxes"),
        ({"postprocess": 0.02}, {"task": "semantic"}, {"postprocess_bound"}, "or export once, yolo export format=onnx"),
        ({"postprocess": 0.02}, {"task": "classify", "source": "tensor"}, {"postprocess_bound"}, "are copied back"),
        ({"postprocess": 0.02}, {"task": "classify"}, {"postprocess_bound"}, "there are hardly any boxes"),
        ({"postprocess": 0.02}, {"task": "depth"}, {"postprocess_bound"}, "scale large images down beforehand"),
        ({"source": 0.03, "user": 0.03}, {}, {"source_bound", "user_code_bound"}, ""),
    ],
)
def test_verdicts(phases: dict[str, float], how: dict[str, object], expected: set[str], fix: str) -> None:
    """What is told of which figures; the fix is in Ultralytics' arguments."""
    _, told = predicted(phases, **how)
    assert names(told) == expected
    assert any(fix in verdict.fix for verdict in told.verdicts)
    assert exit_code([told]) == (0 if expected == {"inference_bound"} else 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("predict_single", {"small_inference_batch"}),
        ("predict_fp32", {"postprocess_bound", "precision"}),
        ("predict_half", {"postprocess_bound"}),
    ],
)
def test_predictions_on_a_real_card(name: str, expected: set[str]) -> None:
    """Recorded on an H200 by the GPU kit: seconds long, so that all of a run is judged."""
    stores = list(read(ROOT / "tests" / "recordings" / "predictions" / f"{name}.om.gz"))
    told = diagnose_range(stores).diagnoses
    newest = max(diagnosis.run for diagnosis in told if diagnosis.signals.predicts)
    assert next(names(one) for one in told if one.run == newest) == expected


def test_advice_that_would_do_nothing_is_not_given() -> None:
    """`batch` is for files only, and who tracks has a low `conf` on purpose."""
    small = {**CUDA, "busy": 0.2}
    for how in ({"source": "images"}, {"source": "tensor"}, {"source": "images,video"}, {"calls": 2.0}):
        _, told = predicted({}, **small, **how)  # type: ignore[arg-type]
        assert told.verdicts[0].advice.arguments == {}
    for how in ({"ultralytics": "8.3.9"}, {"ultralytics": "8.4.190", "batch": 8}):
        assert "at once" not in predicted({"source": 0.2}, **how)[1].verdicts[0].fix  # type: ignore[arg-type]
    _, told = predicted({"postprocess": 0.02}, mode="track", conf="0.1")
    assert [(verdict.name, verdict.advice.arguments) for verdict in told.verdicts] == [("postprocess_bound", {})]


def test_evidence_has_the_figures() -> None:
    """Shares and milliseconds of what was measured, effects and forecasts."""
    _, told = predicted({"source": 0.016}, source="video")
    (verdict,) = told.verdicts
    assert verdict.evidence == (
        "40% of the time waits for the next batch (video): 16 ms per batch; the model takes 50%"
    )
    assert verdict.advice.effect == ("frames",)
    assert verdict.gain is not None
    assert "1.7x" in verdict.gain
    assert "of the time)" in to_text([told])


def test_evidence_of_preprocessing_and_of_pauses() -> None:
    """The size that images get; and that a healthy prediction was mostly not asked for."""
    _, told = predicted({"preprocess": 0.018}, imgsz="640,640", batch=4)
    assert told.verdicts[0].evidence == (
        "45% of the time goes into preprocessing (imgsz 640,640): 18 ms per batch of 4 images; the model takes 50%"
    )
    _, told = predicted({"idle": 0.072})
    assert told.verdicts[0].evidence.endswith(
        "; between calls it waited for 75% of the time, for requests, for what its own code reads, or for a CPU"
    )
    assert "between calls" not in predicted({"idle": 0.002})[1].verdicts[0].evidence


@pytest.mark.parametrize(("callbacks", "expected"), [(0.02, {"validate_callback_bound"}), (0.004, set())])
def test_callbacks_of_a_validation(callbacks: float, expected: set[str]) -> None:
    """They are all that a validation is judged by, whatever else takes its time."""
    phases = {"callbacks": callbacks, "source": 0.01, "metrics": 0.02}
    _, told = predicted(phases, mode="validate", state="validate")
    assert names(told) == expected
    if expected:
        (verdict,) = told.verdicts
        assert verdict.evidence == "27% of the time goes into other callbacks: 20 ms per batch; the model takes 27%"
        assert "at on_val_end" in verdict.fix
        assert "1.4x" in str(verdict.gain)


@pytest.mark.parametrize("state", ["finished", "stopped", "failed", "killed", "validate", "export"])
def test_nothing_is_judged_of_what_does_not_predict(state: str) -> None:
    """A validation's loader takes its time, an export has no verdict, and a killed prediction is no killed training."""
    window = Window(recorded({"source": 0.1}, state=state), 1000.0, 1040.0)
    (s,) = signals.gather([(window, window)])
    assert judge(s, DEFAULTS) == ({"validate_callback_bound": False} if state == "validate" else {})


def test_no_rule_is_in_both_tables() -> None:
    """Names are unique, states apart, and what a rule names exists."""
    assert len(rules.BY_NAME) == len(rules.RULES) + len(rules.PREDICTION_RULES)
    for rule in rules.PREDICTION_RULES:
        assert rule.states == (("validate",) if rule.name.startswith("validate_") else ("predict",))
        assert {signal.name for signal in rule.needs} <= set(signals.SIGNALS)
        assert set(rule.thresholds) <= set(SOURCES)
        assert not rule.waste


@pytest.mark.parametrize("rule", rules.PREDICTION_RULES, ids=lambda rule: rule.name)
def test_a_rule_abstains_without_its_signals(rule: rules.Rule) -> None:
    """Where a signal is missing there is no verdict, neither yes nor no."""
    bare = Signals("run", "0", "predict", predicts=True)
    assert judge(bare, DEFAULTS) == {}
    assert rule.missing(bare) == tuple(signal.name for signal in rule.needs)


def test_trainings_are_judged_by_their_own_rules() -> None:
    """Whatever the numbers, a training gets no verdict on predictions, and the other way round."""
    numbers = dict.fromkeys(signals.SIGNALS, 0.9)
    trains = judge(Signals("run", "0", "train", numbers=numbers, facts=FACTS), DEFAULTS)
    predicts = judge(Signals("run", "0", "predict", numbers=numbers, facts=FACTS, predicts=True), DEFAULTS)
    assert not trains.keys() & rules.OF_PREDICTIONS
    assert predicts.keys() <= rules.OF_PREDICTIONS


def test_fixes_have_a_chinese_text() -> None:
    """Clause by clause."""
    for phases, how in (
        ({"source": 0.02}, {"source": "video"}),
        ({"source": 0.02}, {"source": "files"}),
        ({"source": 0.02}, {"source": "files", "ultralytics": "8.4.190"}),
        ({"source": 0.02}, {"source": "tensor"}),
        ({"postprocess": 0.02}, {"boxes": 250, "conf": "0.001"}),
        ({"user": 0.03}, {"calls": 2.0}),
        ({"load": 0.03}, {}),
        ({"save": 0.03}, {}),
        ({"save": 0.03}, {"saves": "none"}),
        ({"preprocess": 0.02}, {"source": "images"}),
        ({"preprocess": 0.02}, {"task": "classify"}),
        ({"callbacks": 0.03}, {}),
        ({"callbacks": 0.03}, {"mode": "validate", "state": "validate"}),
        ({}, {**CUDA, "busy": 0.2, "precision": "fp32"}),
        ({}, {**CUDA, "precision": "fp32", "format": "onnx"}),
        ({}, {}),
    ):
        for verdict in predicted(phases, **how)[1].verdicts:  # type: ignore[arg-type]
            assert [clause for clause in verdict.fix.split("; ") if clause and not is_known(clause)] == []


def test_a_running_exporter_publishes_them() -> None:
    """Under names of their own: no series of a training comes of a prediction."""
    live = Live()
    for second in range(60):
        told = live.feed(1000.0 + second, samples(float(second), {**BASE, "source": 0.1}))
    seen = {(sample.metric.name, sample.labels[2]): sample.value for sample in told}
    assert seen["yoloscope_predict_verdict", "source_bound"] == 1
    assert seen["yoloscope_predict_verdict", "inference_bound"] == 0
    assert ("yoloscope_predict_verdict_fix_info", "source_bound") in seen
    assert {name for name, _ in seen} == {"yoloscope_predict_verdict", "yoloscope_predict_verdict_fix_info"}
    (one,) = from_json(to_json(live.diagnoses, with_signals=True))
    assert one.signals.predicts
    assert names(one) == {"source_bound"}


def test_a_prediction_of_seconds_is_judged_when_it_has_ended() -> None:
    """By a running exporter as from a recording: no window could do so before."""
    live = Live()
    for second in range(10):
        state = "predict" if second < 6 else "finished"
        live.feed(1000.0 + second, samples(float(min(second, 6)), {**BASE, "source": 0.1}, state=state))
    (one,) = live.diagnoses
    assert [verdict.name for verdict in one.whole_run] == ["source_bound"]


def test_the_screen() -> None:
    """A prediction's part of `top`: its verdict, a line, and where the time of a batch goes."""
    store, told = predicted({"source": 0.016}, source="video")
    from rich.console import Console  # noqa: PLC0415 - here alone

    console = Console(width=80, record=True)
    console.print(screen.frame(screen.Moment(*screen.windows(store, store.last), [told])))
    text = console.export_text()
    assert "source_bound" in text
    assert "predict  pt  fp32  video" in text
    assert "16.0 ms" in text
