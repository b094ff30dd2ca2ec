"""Checkpoints: nothing in them is run, they know their run, and the previous one is never lost."""

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import nn

import camloc
from camloc.data.loading.fingerprint import fingerprint
from camloc.experiment.checkpoint import (
    WholeCheckpoints,
    load_checkpoint,
    load_weights,
    trained_so_far,
    write_checkpoint,
)
from camloc.experiment.measuring.module import EvaluationModule
from camloc.experiment.run_record import (
    RunInCheckpoint,
    RunRecord,
    refuse_other_classes,
    refuse_trained_images,
    run_record,
)
from camloc.metrics.localization_error import LocalizationError

SQUARES = run_path(str(Path(__file__).parent / "squares.py"))
module: Callable[..., EvaluationModule] = SQUARES["module"]
RECORD = RunRecord(["red", "green"], 8, None, None, None)


class Runs:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code from a checkpoint ran",)


def test_a_pickle_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "extra": Runs()}, file)
    with pytest.raises(ValueError, match=r"evil\.ckpt is cut off, no checkpoint, or holds code, which is not run"):
        load_checkpoint(file)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("kept", [0, 1, 300])
def test_a_checkpoint_that_is_cut_off_is_named(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "half.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(100)}}, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"half\.ckpt is cut off"):
        load_checkpoint(file)


def test_every_flipped_byte_and_every_lost_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    write_checkpoint({"state_dict": {"w": torch.arange(4)}, "camloc_version": "0.2"}, file)
    whole = file.read_bytes()
    assert load_checkpoint(file)["state_dict"]["w"].tolist() == [0, 1, 2, 3]
    assert torch.load(file, weights_only=True)["state_dict"]["w"].tolist() == [0, 1, 2, 3]
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"^\S*best\.ckpt (is damaged|lacks the checksum|is cut off)[^\n]*$"):
            load_checkpoint(file)
    for length in range(len(whole) - 100, len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"best\.ckpt (lacks the checksum|is cut off)"):
            load_checkpoint(file)


def test_a_training_resumes_from_no_damaged_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"state_dict": {"w": torch.zeros(1000)}}, file)
    assert WholeCheckpoints().load_checkpoint(file, weights_only=False)["state_dict"]["w"].shape == (1000,)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged: its content is not the one"):
        WholeCheckpoints().load_checkpoint(file)


def test_nothing_of_a_checkpoint_is_unpacked(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(100_000)}}, tmp_path / "plain.ckpt")
    with zipfile.ZipFile(tmp_path / "plain.ckpt") as plain, zipfile.ZipFile(tmp_path / "bomb.ckpt", "w") as bomb:
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"bomb\.ckpt is cut off, no checkpoint"):
        load_checkpoint(tmp_path / "bomb.ckpt")


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match=r"list\.ckpt holds no state_dict"):
        load_checkpoint(tmp_path / "list.ckpt")


def test_weights_that_do_not_fit_name_the_first_difference(tmp_path: Path) -> None:
    owner = nn.ModuleDict({"layer": nn.Linear(2, 2)})
    torch.save({"state_dict": {"layer.weight": torch.zeros(2, 2)}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt does not fit the network.*layer\.bias"):
        load_weights(owner, tmp_path / "other.ckpt")


def test_a_part_takes_its_own_weights_alone(tmp_path: Path) -> None:
    file = tmp_path / "whole.ckpt"
    weights = {"predictor.weight": torch.full((1, 1), 3.0), "predictor.bias": torch.ones(1)}
    torch.save({"state_dict": {**weights, "objective.class_weights": torch.ones(7)}}, file)
    layer = nn.Linear(1, 1)
    load_weights(layer, file, prefix="predictor.")
    assert (layer.weight.item(), layer.bias.item()) == (3, 1)


def saved(file: Path, evaluated: EvaluationModule, record: RunRecord = RECORD) -> dict[str, Any]:
    """What a training writes, without Lightning's own."""
    content: dict[str, Any] = {"state_dict": evaluated.state_dict()}
    config = {"backbone": {"_target_": "camloc.backbones.vgg.VggGap"}}
    RunInCheckpoint(config, record).on_save_checkpoint(SimpleNamespace(), evaluated, content)  # type: ignore[arg-type] # not looked at
    write_checkpoint(content, file)
    return content


def validated(**protocols: LocalizationError) -> EvaluationModule:
    """A module that has been validated on halos whose best thresholds are 0.5 to 0.9."""
    evaluated = module(SQUARES["measures"](protocols))
    evaluated._trainer = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn.FITTING), world_size=1)  # type: ignore[assignment] # a stub
    evaluated.log = lambda *_, **__: None  # type: ignore[method-assign] # the same
    evaluated.validation_step(SQUARES["batch"]([0, 1], 0.45))
    evaluated.on_validation_epoch_end()
    return evaluated


def test_a_checkpoint_knows_its_run_and_needs_no_code_to_be_read(tmp_path: Path) -> None:
    file = tmp_path / "best.ckpt"
    evaluated = validated(val_threshold=LocalizationError(num_thresholds=10))
    saved(file, evaluated, RECORD._replace(fingerprint=torch.tensor([[1, 5]]), intensity=(0.0, 4095.0)))
    content = torch.load(file, weights_only=True)
    assert content["camloc_version"] == camloc.__version__
    assert content["camloc_config"] == {"backbone": {"_target_": "camloc.backbones.vgg.VggGap"}}
    record = run_record(file)
    assert (record.class_names, record.input_size, record.intensity) == (["red", "green"], 8, (0, 4095))
    assert (record.cam_threshold, record.threshold_source) == (0.7, "val")
    assert record.fingerprint is not None
    assert record.fingerprint.tolist() == [[1, 5]]
    load_weights(module(), file)
    load_weights(SQUARES["network"](), file, prefix="predictor.")


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [
        ({"paper": LocalizationError(cam_threshold=0.2)}, (0.2, "fixed")),
        # People are shown the first one's.
        (
            {
                "val_threshold": LocalizationError(num_thresholds=10),
                "paper": LocalizationError(cam_threshold=0.2),
            },
            (0.7, "val"),
        ),
        ({}, (None, None)),
    ],
)
def test_the_threshold_is_that_of_the_epoch(
    protocols: Mapping[str, LocalizationError], expected: tuple[float | None, str | None], tmp_path: Path
) -> None:
    saved(tmp_path / "best.ckpt", validated(**protocols))
    record = run_record(tmp_path / "best.ckpt")
    assert (record.cam_threshold, record.threshold_source) == expected


def test_before_the_first_validation_there_is_no_threshold(tmp_path: Path) -> None:
    saved(tmp_path / "last.ckpt", module())
    assert run_record(tmp_path / "last.ckpt").cam_threshold is None


@pytest.mark.parametrize(
    "known", [{}, {"camloc_class_names": ["red"]}, {"camloc_run": {"class_names": ["red"]}}, {"camloc_run": ["red"]}]
)
def test_an_old_checkpoint_is_refused_in_one_line(known: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "old.ckpt"
    torch.save({"state_dict": {}, **known}, file)
    with pytest.raises(
        ValueError, match=rf"old\.ckpt does not say .* camloc 0\.1 reads .* {camloc.__version__}"
    ) as found:
        run_record(file)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("class_names", "red", "class_names is 'red'"),
        ("class_names", ["red", 2], r"class_names is \['red', 2\]"),
        ("input_size", True, "input_size is True"),
        ("input_size", 0, "input_size is 0"),
        ("cam_threshold", "0.2", "cam_threshold is '0.2'"),
        ("cam_threshold", float("nan"), "cam_threshold is nan"),
        ("cam_threshold", 1.5, "cam_threshold is 1.5"),
        ("threshold_source", "word", "threshold_source is 'word'"),
        ("fingerprint", [1], r"fingerprint is \[1\]"),
        ("fingerprint", torch.zeros(3, 1, dtype=torch.int64), r"fingerprint of shape \(3, 1\)"),
        ("fingerprint", torch.zeros(3, 2), r"torch\.float32, where \(N,2\) int64 is due"),
    ],
)
def test_what_a_run_cannot_be_is_refused(field: str, value: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "crafted.ckpt"
    write_checkpoint({"state_dict": {}, "camloc_run": RECORD._replace(cam_threshold=0.2)._asdict()}, file)
    assert run_record(file).cam_threshold == 0.2
    write_checkpoint({"state_dict": {}, "camloc_run": {**RECORD._asdict(), field: value}}, file)
    with pytest.raises(ValueError, match=rf"crafted\.ckpt .*{message}"):
        run_record(file)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat", "fox", "owl"], r"3 classes and the data set has 3; .* was trained as dog and is fox in the data"),
        (["cat", "a\nb"], r"3 classes and the data set has 2; .* was trained as dog and is 'a\\nb' in the data"),
        (["cat", "dog"], r"3 classes and the data set has 2; .* was trained as fox and is none in the data"),
        (
            ["cat", "dog", "fox", "owl"],
            r"3 classes and the data set has 4; .* was trained as none and is owl in the data: give data with",
        ),
    ],
)
def test_classes_that_were_not_trained_are_refused(classes: list[str], message: str) -> None:
    trained = ["cat", "dog", "fox"]
    refuse_other_classes(("cat", "dog", "fox"), trained, Path("best.ckpt"))
    with pytest.raises(ValueError, match=rf"best\.ckpt was trained on {message}"):
        refuse_other_classes(classes, trained, Path("best.ckpt"))


def test_trained_images_are_refused_with_a_count(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"." * (10 + index))
    trained = SQUARES["Squares"]("", [0, 1], 0.0, tmp_path)
    tested = SQUARES["Squares"]("", [0, 1, 0], 0.0, tmp_path)
    in_memory = SQUARES["Squares"]("", [0, 1, 0], 0.0)
    prints = fingerprint(trained)
    with pytest.raises(ValueError, match=r"2 of the 3 images of test were trained on by best\.ckpt .*not seen"):
        refuse_trained_images(prints, tested, "test", Path("best.ckpt"))
    refuse_trained_images(prints, in_memory, "test", Path("best.ckpt"))
    refuse_trained_images(None, tested, "test", Path("best.ckpt"))


def loops(ready: int, processed: int, batches: int) -> dict[str, Any]:
    return {
        "loops": {
            "fit_loop": {
                "epoch_progress": {"current": {"ready": ready, "processed": processed}},
                "epoch_loop.batch_progress": {"current": {"completed": batches}},
            }
        }
    }


def test_a_training_goes_on_in_its_epoch() -> None:
    assert trained_so_far(loops(3, 3, 5)) == (3, 0)  # saved at the end of the third epoch
    assert trained_so_far(loops(4, 3, 5)) == (3, 5)  # in the middle of the fourth
    for broken in ({}, {"loops": {"fit_loop": None}}):
        with pytest.raises(ValueError, match="does not say where its training stood"):
            trained_so_far(broken)


def test_a_checkpoint_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    for number in (1, 2):
        WholeCheckpoints().save_checkpoint({"state_dict": {"w": torch.tensor(number)}}, file)
    assert load_checkpoint(file)["state_dict"]["w"].item() == 2
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"state_dict": {"w": torch.tensor(1)}}, file)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"last\.ckpt could not be written: No space left .* checkpoint is intact"):
        WholeCheckpoints().save_checkpoint({"state_dict": {"w": torch.tensor(2)}}, file)
    assert load_checkpoint(file)["state_dict"]["w"].item() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
