"""Options as a command's user meets them: composed, checked, and refused before anything is built."""

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from camloc.experiment.entry import Entry, offer_prediction, offer_run
from camloc.experiment.run_directory import RunDirectory

Refused = Callable[..., list[str]]

JOB = """
import json
from pathlib import Path
from omegaconf import OmegaConf

def job(config, run):
    run.write_config(config)
    Path("ran.json").write_text(json.dumps([str(Path.cwd()), OmegaConf.to_container(config, resolve=True)]))
"""


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command whose job does nothing; return the parts of its one line, none where the job has run."""
    (tmp_path / "no_job.py").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    checks = {
        "train": Entry("train", "no_job:job", check="camloc.experiment.check_options:check_training"),
        "evaluate": Entry(
            "evaluate", "no_job:job", offer_run, check="camloc.experiment.check_options:check_evaluation"
        ),
        "predict": Entry(
            "predict", "no_job:job", offer_prediction, check="camloc.experiment.check_options:check_prediction"
        ),
    }

    def run(command: str, *arguments: str) -> list[str]:
        Path("ran.json").unlink(missing_ok=True)
        capsys.readouterr()
        with contextlib.suppress(SystemExit):
            checks[command].run(["camloc", command], ["hydra.run.dir=run", "overwrite=true", *arguments])
        printed = capsys.readouterr().err
        if Path("ran.json").exists():
            assert printed == ""
            return []
        assert printed.startswith("error: ")
        assert printed.count("\n") == 1
        return printed.removeprefix("error: ").rstrip("\n").split("; ")

    return run


def test_every_misfit_is_named_with_what_is_allowed(refused: Refused) -> None:
    assert refused(
        "train",
        *("check_only=maybe", "datamodule.batch_size=true", "trainer.max_epochs=true", "seed=1.5", "optimizer.lr=null"),
        *("objective.label_smoothing=1", "objective.class_weights=[0]", "scheduler.warmup=2", "backbone.dropout=3"),
        *("callbacks.gallery.count=0", "localization.cam_threshold=20", "score_map.interpolation=cubic"),
        *("+trainer.limit_val_batches=true", "localization.protocols.centred_box=3", "optimizer._partial_=false"),
    ) == [
        "score_map.interpolation=cubic must be bilinear or bicubic",
        "localization.cam_threshold=20 must be a number of at least 0 and below 1 or null",
        "localization.protocols.centred_box=3 has no _target_: nothing can be built from it, and null leaves it out",
        "trainer.max_epochs=true must be a whole number of at least 1",
        "trainer.limit_val_batches=true must be a number or null",
        "callbacks.gallery.count=0 must be a whole number of at least 1",
        "seed=1.5 must be a whole number of at least 0 and below 4294967296",
        "backbone.dropout=3 must be a number of at least 0 and of at most 1",
        "datamodule.batch_size=true must be a whole number of at least 1",
        "objective.label_smoothing=1 must be a number of at least 0 and below 1",
        "objective.class_weights=[0] must be balanced or a list, each a number above 0 with at least 1 entry or null",
        "optimizer._partial_=false must be true",
        "optimizer.lr=null must be a number",
        "scheduler.warmup=2 must be a number of at least 0 and below 1",
        "check_only=maybe must be true or false",
    ]


def test_an_unknown_option_is_an_error_behind_a_plus_too(refused: Refused) -> None:
    assert refused(
        "train",
        *("+datamodule.num_classes=3", "+optimizer.nestrov=true", "+trainer.enable_progres_bar=false", "++seeed=3"),
        *("+localization.cam_treshold=0.2", "+backbone.num_classes=3", "+trainer.callbacks=[]", "+optimizer.params=[]"),
    ) == [
        "seeed is not an option",
        "did you mean seed?",
        "localization.cam_treshold is not an option",
        "did you mean localization.cam_threshold?",
        "trainer.enable_progres_bar is not an option of pytorch_lightning.Trainer",
        "did you mean trainer.enable_progress_bar?",
        "trainer.callbacks is set by camloc itself",
        "backbone.num_classes is set by camloc itself",
        "datamodule.num_classes is not an option of camloc.data.datasets.textures.Textures",
        "optimizer.nestrov is not an option of torch.optim.SGD",
        "did you mean optimizer.nesterov?",
        "optimizer.params is set by camloc itself",
    ]


def test_what_a_signature_has_can_be_added(refused: Refused) -> None:
    added = ("+optimizer.nesterov=true", "+trainer.limit_train_batches=2", "+my.rate=0.1", "optimizer.lr=${my.rate}")
    assert refused("train", *added) == []
    assert RunDirectory(Path("run")).read_status().status == "completed"
    # A configuration that is saved is resolved: nothing refers to `my` any more.
    saved = ("--config-dir", "run", "--config-name", "config")
    assert refused("train", *saved) == []
    assert refused("train", *saved, "+mine=3") == ["mine is not an option"]


def test_the_page_can_be_left_out(refused: Refused) -> None:
    assert refused("train", "callbacks.explorer=null") == []


def test_ranges_that_only_a_constructor_knows_are_said_by_it(refused: Refused) -> None:
    assert refused("train", "optimizer.lr=-1") == ["optimizer: Invalid learning rate: -1"]
    assert refused("train", "optimizer.lr=-1", "localization.iou_threshold=0.4") == [
        "localization.iou_threshold=0.4 must be one of iou_thresholds=[0.3, 0.5, 0.7]",
        "optimizer: Invalid learning rate: -1",
    ]
    unlisted = refused("train", "localization.iou_threshold=0.4")
    assert unlisted == ["localization.iou_threshold=0.4 must be one of iou_thresholds=[0.3, 0.5, 0.7]"]
    assert refused("train", "localization=ilsvrc", "localization.protocols.ilsvrc.blacklist=nowhere") != []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimizer._target_=no.such"], "optimizer._target_=no.such cannot be imported: Error loading 'no.such': "),
        (["optimizer._target_=os.path"], "optimizer._target_=os.path is nothing that can be called"),
        (
            ["~datamodule.seed", "datamodule=folder", "datamodule.root=2024"],
            'datamodule.root=2024 must be text (as text: "',
        ),
        (["datamodule=loader"], "datamodule has no _target_: nothing can be built from it"),
        (["localization.protocols=null"], "localization.protocols=null must be a mapping of names to parts"),
        (["trainer=3"], "trainer=3: trainer is chosen by name, trainer=default|gpu"),
        (["~check_only"], "check_only is missing and must be given"),
        (["sweep.fail_fast=true"], "sweep.fail_fast has no effect without -m"),
        (["localization.submission=true"], "localization.submission=true has no effect on a training"),
        (["datamodule.batch_size=0"], "datamodule.batch_size=0 must be a whole number of at least 1"),
        (["datamodule.num_workers=-1"], "datamodule.num_workers=-1 must be a whole number of at least 0 or null"),
        (["datamodule.crop_area=[0,1]"], "datamodule.crop_area=[0, 1] must be a list, each a number above 0 and of at"),
        (["datamodule.num_train=0"], "datamodule.num_train=0 must be a whole number of at least 1"),
        (["resume=RUN", "check_only=true"], "check_only=true trains nothing, so there is nothing to resume"),
        (
            ["compile=true", "objective=acol"],
            "compile=true has no effect with the objective AdversarialComplementary, which runs parts of the network",
        ),
        (["compile=true", "objective=spg"], "compile=true has no effect with the objective SelfProducedGuidance"),
        (["compile=true", "objective=trilite"], "compile=true has no effect with the objective TriLite"),
        (
            ["datamodule.train_transform=resize_crop", "datamodule.crop_area=[0.5,1]"],
            "datamodule.crop_area has no effect ",
        ),
        (
            ["localization=paper", "localization.threshold_interval=0.1"],
            "localization.threshold_interval has no effect: ",
        ),
    ],
)
def test_a_training_that_cannot_be_meant_is_refused(arguments: list[str], said: str, refused: Refused) -> None:
    assert refused("train", *arguments)[0].startswith(said)


FOLDER = ("datamodule=folder", "datamodule.root=x")


@pytest.mark.parametrize(
    ("source", "unread", "read"),
    [
        (
            "submission=x",
            [
                *("datamodule.batch_size=3", "save_score_maps=true", "on_missing=skip", "on_unreadable=skip"),
                *(
                    "threshold_from=checkpoint",
                    "export_score_maps=y",
                    "localization.submission=true",
                    "attribution=cam",
                ),
            ],
            ["map_loader.batch_size=2", "localization=ilsvrc"],
        ),
        (
            "score_maps=x",
            ["save_score_maps=true", "threshold_from=checkpoint", "callbacks.gallery.count=3", "views=flip"],
            ["map_loader.num_workers=0", "on_missing=skip", "score_map=max", "export_score_maps=y"],
        ),
        (
            "score_maps=no_job.py",  # a file
            [
                "on_missing=skip",
                "map_loader.num_workers=0",
                "datamodule=folder",
                "datamodule.root=x",
                "backbone=vgg_gap",
            ],
            ["map_loader.batch_size=2", "box_rule=largest_component", "score_map=max", "localization=val_threshold"],
        ),
        (
            "submission=x",
            ["trainer.max_epochs=3", "datamodule.crop_area=[0.5,1]"],
            ["save_score_maps=false", "callbacks.gallery=null", "threshold_from=val", "on_missing=error"],
        ),
    ],
)
def test_an_option_that_the_source_of_an_evaluation_does_not_read_is_refused(
    source: str, unread: list[str], read: list[str], refused: Refused
) -> None:
    data = () if "no_job" in source else FOLDER
    said = refused("evaluate", source, *data, *read, *unread)
    assert sorted(one.partition(" has no effect ")[0] for one in said) == sorted(
        one.partition("=")[0] for one in unread
    )
    assert refused("evaluate", source, *data, *read) == []


def test_pseudo_boxes_are_refused_where_val_is_not_read(refused: Refused) -> None:
    given = ("score_maps=x", *FOLDER, "threshold_from=checkpoint")
    said = "datamodule.pseudo_boxes has no effect with threshold_from=checkpoint, which does not read val"
    assert any(one.startswith(said) for one in refused("evaluate", *given, "datamodule.pseudo_boxes=border_contrast"))
    assert not any(one.startswith(said) for one in refused("evaluate", *given, "datamodule.pseudo_boxes=null"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("trainer.devices=0", "trainer: `Trainer(devices=0)` value is not a valid input using cpu accelerator."),
        ("trainer.accelerator=cpuu", "trainer: You selected an invalid accelerator name: `accelerator='cpuu'`."),
        ("+trainer.strategy=foo", "trainer: You selected an invalid strategy name: `strategy='foo'`."),
        ("+trainer.max_time=abc", "trainer: "),
        ("+trainer.limit_test_batches=1.5", "trainer: You have passed invalid value 1.5 for limit_test_batches"),
        ("+trainer.limit_test_batches=0", "trainer.limit_test_batches=0 measures nothing"),
        ("backbone.weights=nowhere.pth", "backbone.weights=nowhere.pth: there is no such file"),
        ("+trainer.profiler=foo", "trainer: When passing string value for the `profiler` parameter of `Trainer`"),
    ],
)
def test_what_only_a_part_itself_refuses_is_refused_before_a_run_is_replaced(
    option: str, said: str, refused: Refused, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.write_status("completed")
    [line, *_] = refused("train", "trainer.accelerator=cpu", option)
    assert line.startswith(said)
    assert run.read_status().status == "completed"


def test_one_word_for_gpus_serves_an_evaluation_too(refused: Refused) -> None:
    on_cpu = ("trainer=gpu", "trainer.accelerator=cpu")
    assert refused("train", *on_cpu, "hydra.run.dir=trained") == []
    saved = RunDirectory(Path("trained"))
    saved.checkpoints.mkdir()
    saved.best_checkpoint.touch()
    assert refused("evaluate", "checkpoint=trained", *on_cpu) == []


def test_no_submission_is_written_of_the_heuristic(refused: Refused) -> None:
    options = ("evaluate", "score_maps=no_job.py", "localization=paper_heuristic")
    assert refused(*options) == []
    assert refused(*options, "localization.submission=true") == [
        "localization.submission=true writes one box for each of five classes, not those of the heuristic",
        "write it with localization=ilsvrc",
    ]


def test_relative_paths_are_meant_from_where_the_command_was_given(refused: Refused, tmp_path: Path) -> None:
    assert refused("train", "hydra.job.chdir=true") == []
    assert json.loads((tmp_path / "ran.json").read_text())[0] == str(tmp_path)


def test_a_directory_that_is_refused_keeps_its_run(refused: Refused) -> None:
    assert refused("train", "seed=3") == []
    before = {file: file.read_bytes() for file in Path("run").glob("*.*") if file.is_file()}
    assert refused("train", "seed=true") != []  # with overwrite=true
    assert {file: file.read_bytes() for file in Path("run").glob("*.*") if file.is_file()} == before


def test_a_file_of_ones_own_is_checked_as_the_command_line_is(refused: Refused) -> None:
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/a.yaml").write_text("# @package _global_\nseeed: 3\ntrainer: {max_epoch: 3}\n")
    assert refused("train", "--config-dir", "mine", "experiment=a") == [
        "seeed is not an option",
        "did you mean seed?",
        "trainer.max_epoch is not an option of pytorch_lightning.Trainer",
        "did you mean trainer.max_epochs?",
    ]


VALUES = (
    "null",
    "true",
    "maybe",
    "-1",
    "1e999",
    "nan",
    "''",
    "[]",
    "{}",
    "[a,a]",
    "${nope}",
    "${",
    "a:b",
    "(",
    "数据",
    "1,2",
)


def mutated(rng: random.Random, overrides: list[str]) -> list[str]:
    """Return overrides of which one or two have lost, gained or exchanged something."""
    found = list(overrides)
    for _ in range(rng.randint(1, 2)):
        index = rng.randrange(len(found))
        key, _, value = found[index].partition("=")
        at = rng.randrange(len(key) or 1)
        found[index] = rng.choice(
            [
                f"{key}={rng.choice(VALUES)}",
                f"{key[:at]}{key[at + 1 :]}={value}",
                f"{key[:at]}{rng.choice('x.=/@+~ ')}{key[at:]}={value}",
                f"{rng.choice(['+', '++', '~', '-'])}{key}={value}",
                f"{key}={value}{rng.choice([',', '[', chr(39), '}', ' x', '(1)'])}",
                key,
            ]
        )
    return [one for one in found if one]


KNOWN = [
    *("seed=1", "backbone=vgg_gap", "backbone.dropout=0.5", "datamodule=textures", "datamodule.batch_size=4"),
    *(
        "datamodule.crop_area=[0.5,1]",
        "localization=[paper,pxap]",
        "localization.cam_threshold=0.2",
        "monitor=val/loss",
    ),
    *("optimizer=adamw", "optimizer.lr=0.1", "+optimizer.amsgrad=true", "scheduler.warmup=0.2", "trainer.max_epochs=3"),
    *("callbacks.gallery=null", "hydra.job.chdir=false", "score_map=pas", "paths.runs=r", "check_only=true"),
]


def test_no_override_ends_in_a_traceback(refused: Refused) -> None:
    rng = random.Random(0)
    count = int(os.environ.get("CAMLOC_MUTATED_OVERRIDES", "12"))
    outcomes = [len(refused("train", *mutated(rng, rng.sample(KNOWN, 4)))) for _ in range(count)]
    assert 0 < sum(outcome > 0 for outcome in outcomes) <= count


def test_an_evaluation_follows_a_threshold_that_is_given(refused: Refused) -> None:
    assert refused("train", "localization=[val_threshold,paper,pxap]", "hydra.run.dir=trained") == []
    saved = RunDirectory(Path("trained"))
    saved.checkpoints.mkdir()
    saved.best_checkpoint.touch()
    changed = (
        "localization.cam_threshold=0.3",
        "localization.threshold_interval=0.1",
        "localization.num_thresholds=50",
    )
    assert refused("evaluate", "checkpoint=trained", *changed) == []
    protocols = json.loads(Path("ran.json").read_text())[1]["localization"]["protocols"]
    assert [protocols[name]["cam_threshold"] for name in ("val_threshold", "paper")] == [0.3, 0.3]
    assert (protocols["pxap"]["cam_curve_interval"], protocols["paper"]["num_thresholds"]) == (0.1, 50)
    assert refused("evaluate", "checkpoint=trained", "seed=2") == []
    protocols = json.loads(Path("ran.json").read_text())[1]["localization"]["protocols"]
    assert [protocols[name]["cam_threshold"] for name in ("val_threshold", "paper")] == [None, 0.2]
    assert OmegaConf.load(saved.config).trainer.max_epochs == 5


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("datamodule.eval_transform=centre_crop", "has no effect on a prediction, whose images are seen as"),
        ("datamodule.input_size=32", "has no effect on a prediction, whose images are seen as"),
        ("datamodule.crop_area=[0.5,1]", "has no effect on a prediction: nothing is trained"),
        ("datamodule.batch_size=3", "has no effect on a prediction; give batch_size="),
    ],
)
def test_a_prediction_refuses_what_its_checkpoint_says(argument: str, says: str, refused: Refused) -> None:
    assert f"{argument.partition('=')[0]} {says}" in "; ".join(predicted(refused, argument))
    assert predicted(refused, "datamodule.image_size=64") == []


DATA = ("datamodule=textures", "datamodule.seed=3")


def predicted(refused: Refused, argument: str) -> list[str]:
    parts = ("backbone=vgg_gap", "attribution=cam", "views=none", "score_map=minmax", "box_rule=largest_component")
    run = Path("trained")
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run / "checkpoints" / "best.ckpt").touch()
    (run / "config.yaml").write_text("backbone: {_target_: b}\nclassifier: {channels_last: false}\n")
    return refused("predict", f"checkpoint={run}", "source=val", *DATA, *parts, argument)
