"""The probes of a command one after the other, on modelled machines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from yoloscope_exporter.diagnosis.forecast import Costs
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.tuning.rounds import larger, tuned
from yoloscope_exporter.tuning.search import Setting, Trial
from yoloscope_exporter.tuning.space import Facts
from yoloscope_exporter.tuning.speed import Speed

GIB = 2.0**30


def _quiet(_text: str) -> None:
    """Nobody listens."""


class Card:
    """Probes on a modelled GPU: 2 GiB for the model and 0.25 for an image, batches that fill it better are faster."""

    def __init__(self, best: Setting, *, probes: int = 9) -> None:
        """`best` was found before, and as many probes can be afforded."""
        self.trials = [Trial(best, "", Speed(100.0, 0.02, 0.0, 50, 5.0))]
        self.peaks = {16: 6 * GIB}
        self._left = probes

    def affords(self) -> bool:
        """Whether there is time left."""
        return self._left > 0

    def probe(self, setting: Setting, why: str) -> Trial:
        """Up to 64 images the GPU is not full."""
        self._left -= 1
        batch = setting.batch or 16
        self.peaks[batch] = 2 * GIB + batch * GIB / 4
        rate = 100.0 * min(batch, 64) / 16
        self.trials.append(Trial(setting, why, Speed(rate, 0.02, 0.0, 50, 5.0)))
        return self.trials[-1]


def _on_a_card(total: float, used: float = 7.0, **facts: str) -> Signals:
    """A run that has reserved 6 GiB; others hold the rest of what is used."""
    numbers = {
        "batch_size": 16.0,
        "cuda_batch_peak_bytes": 6 * GIB,
        "cuda_floor_bytes": 2 * GIB,
        "cuda_reserved_bytes": 6 * GIB,
        "gpu_memory_total_bytes": total * GIB,
        "gpu_memory_used_share": used / total,
    }
    return Signals("run", "0", facts={"device": "cuda:0", **facts}, numbers=numbers)


def test_two_batches_tell_the_peak_of_others() -> None:
    """24 GiB, of which 85 % less the 1 GiB of others: 69 images would fit, 64 in steps of eight are tried."""
    card = Card(Setting(4))
    found, beside, notes = larger(card, _quiet, _on_a_card(24.0), Setting(4))
    assert [trial.setting for trial in card.trials] == [Setting(4), Setting(4, batch=32), Setting(4, batch=64)]
    assert found == Setting(4, batch=64)
    assert card.trials[2].why == "the largest that fits: predicted peak 18.00 GiB of GPU memory"
    assert card.peaks[64] == 18 * GIB
    assert beside == {}
    assert notes == [
        "--batch: peak of GPU memory: 6.00 GiB with 16 images, 10.00 GiB with 32 images, 18.00 GiB with 64 images"
    ]


def test_what_keeps_no_optimisation_is_said() -> None:
    """A step of 16 images is none of 32."""
    found, beside, notes = larger(Card(Setting(), probes=1), _quiet, _on_a_card(24.0, nbs="16"), Setting())
    assert found == Setting(batch=32)
    assert beside == {}
    assert "an optimizer step takes other images than now" in notes[-1]


def test_a_card_that_is_full_is_probed_with_less() -> None:
    """Twice the batch would not fit; nothing smaller is faster."""
    card = Card(Setting())
    found, _, notes = larger(card, _quiet, _on_a_card(9.0), Setting())
    assert [trial.setting.batch for trial in card.trials] == [None, 8]
    assert found is None
    assert notes[1] == "--batch: no other batch trains faster"


@pytest.mark.parametrize(
    ("probes", "said"),
    [
        (0, ["--batch: the time was over before batch=8 was tried: raise --budget"]),
        (1, ["--batch: no other batch trains faster"]),
    ],
)
def test_a_batch_that_was_not_tried_is_not_judged(probes: int, said: list[str]) -> None:
    """The time was over: that is said, and of what was tried the speed."""
    _, _, notes = larger(Card(Setting(), probes=probes), _quiet, _on_a_card(9.0), Setting())
    assert notes[1:] == said


def test_the_largest_that_was_not_tried_is_said() -> None:
    """Twice the batch was, and is faster."""
    found, _, notes = larger(Card(Setting(), probes=1), _quiet, _on_a_card(24.0), Setting())
    assert found == Setting(batch=32)
    assert notes[1:] == ["--batch: the time was over before batch=64 was tried: raise --budget"]


def test_without_a_card_nothing_is_predicted() -> None:
    """And no other batch tried."""
    card = Card(Setting())
    found, _, (note,) = larger(card, _quiet, Signals("run", "0", numbers={"batch_size": 16.0}), Setting())
    assert found is None
    assert "for a GPU only" in note
    assert len(card.trials) == 1


@dataclass
class Machine:
    """Probes of a training that waits for its loader: each worker gives 25 images/s, the trainer takes 100."""

    workers: int
    probes: int
    trials: list[Trial] = field(default_factory=list)
    peaks: dict[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ("a note",)
    environ: dict[str, str] = field(default_factory=dict)
    facts: Facts | None = None
    card: float = 0.0

    def affords(self, probes: int = 1) -> bool:
        """Whether there is time for as many."""
        return self.probes >= probes

    def probe(self, setting: Setting, why: str) -> Trial:
        """Workers wait for storage, and leave the CPUs idle."""
        self.probes -= 1
        workers = self.workers if setting.workers is None else setting.workers
        rate = min(25.0 * workers, 100.0)
        costs = Costs(16, 16 / rate, 0.16, 0.64, 0.1, workers, 0.0, 8.0, 8.0, 0.01)
        s = _of_a_node(workers)
        if self.card:
            s = replace(s, numbers={**s.numbers, **_on_a_card(self.card).numbers})
            self.peaks[setting.batch or 16] = 2 * GIB + (setting.batch or 16) * GIB / 4
        self.facts = self.facts or Facts(s, 1000.0)
        trial = Trial(setting, why, Speed(rate, 0.02, 1 - rate / 100, 50, 5.0), costs, workers=workers)
        self.trials.append(trial)
        return trial


def _of_a_node(workers: float) -> Signals:
    """Eight CPUs; the size of the data set is not known."""
    numbers = {
        "workers": workers,
        "batch_size": 16.0,
        "rank_cores": 8.0,
        "node_cores": 8.0,
        "visible_gpus": 1.0,
        "prep_seconds": 0.64,
        "step_seconds": 0.16,
    }
    return Signals("probe-1", "0", facts={"device": "cuda:0", "task": "detect"}, numbers=numbers)


def test_what_is_changed_is_measured_twice() -> None:
    """In turns with the command as it is; every step is told."""
    told: list[str] = []
    machine = Machine(workers=1, probes=9)
    result = tuned(machine, told.append, batch=False, changes=False)
    assert result.best.workers in {4, 5}
    assert [trial.setting for trial in result.trials[-2:]] == [result.best, Setting()]
    assert result.arguments == {"workers": result.best.workers}
    assert told[0] == "1  as it is: the command as it is"
    assert told[1] == "   25 images/s \u00b12.6%, 75% waiting for data"
    assert told[2].startswith("   8 of 8 CPUs for a rank")
    assert "once more, to be sure" in told[-2]
    assert result.notes[0] == "a note"
    assert result.notes[1].startswith("cache=ram is not tried")


def test_nothing_is_tried_where_nothing_is_promised() -> None:
    """The trainer never waits."""
    result = tuned(Machine(workers=5, probes=9), _quiet, batch=False, changes=False)
    assert result.best == Setting()
    assert len(result.trials) == 1


@pytest.mark.parametrize(("probes", "tried"), [(1, 1), (2, 3), (3, 3)])
def test_what_there_was_no_time_for_is_said(probes: int, tried: int) -> None:
    """The time for a repetition is kept back once there is something to repeat."""
    machine = Machine(workers=1, probes=probes)
    result = tuned(machine, _quiet, batch=False, changes=False)
    assert len(result.trials) <= tried
    if probes == 1:
        assert result.best == Setting()
        assert "the time was over before workers=" in result.notes[-1]


@pytest.mark.parametrize(("card", "batches"), [(24.0, [32, 64]), (0.0, [])])
def test_the_time_for_two_batches_is_kept_back(card: float, batches: list[int]) -> None:
    """Where batches were asked for and memory can be predicted."""
    result = tuned(Machine(workers=1, probes=5, card=card), _quiet, batch=True, changes=False)
    assert [trial.setting.batch for trial in result.trials if trial.setting.batch] == batches
    assert not [note for note in result.notes if note.startswith("--batch: the time was over")]


def test_another_batch_is_only_told_unless_changes_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it changes."""
    found = SimpleNamespace(batch=Setting(batch=32))
    monkeypatch.setattr("yoloscope_exporter.tuning.rounds.larger", lambda *_: (found.batch, {"nbs": 32}, ["told"]))
    kept, changed = (tuned(Machine(5, 9), _quiet, batch=True, changes=changes) for changes in (False, True))
    assert kept.best == Setting()
    assert kept.notes[-2:] == ["told", "batch=32 nbs=32 is left out (--allow-changes): it changes optimisation"]
    assert changed.arguments == {"batch": 32, "nbs": 32}
    assert changed.notes[-1] == "told"
