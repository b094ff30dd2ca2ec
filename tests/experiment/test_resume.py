import os
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser

from camloc.experiment.arguments import hydra_arguments
from camloc.experiment.resume import resume_arguments, resume_prediction
from camloc.experiment.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory(tmp_path / "a run")
    run.checkpoints.mkdir(parents=True)
    run.last_checkpoint.touch()
    run.config.write_text("backbone: {_target_: mine}\n")
    run.write_status("failed", "interrupted")
    return run


def test_without_a_run_nothing_changes() -> None:
    for arguments in ([], ["seed=1"], ["resume=null", "seed=1"]):
        assert resume_arguments(arguments) == arguments


def test_a_run_is_continued_with_its_configuration_in_its_directory(run: RunDirectory) -> None:
    expected = [
        *("--config-name", "resumed", "trainer.devices=2"),
        *(f"++resume='{run.path}'", f"hydra.run.dir='{run.path}'", "hydra.output_subdir=null"),
    ]
    assert resume_arguments([f"resume='{run.path}'", "trainer.devices=2"]) == expected
    assert resume_arguments(["resume=other", "trainer.devices=2", f"resume={run.path}"]) == expected
    offered = ConfigStore.instance()
    assert offered.load("resumed.yaml").node == {"backbone": {"_target_": "mine"}, "trust": False}
    offered.store(name="resumed", node={})
    assert resume_arguments(expected) == expected  # what Lightning starts other processes with
    assert "backbone" in offered.load("resumed.yaml").node


def test_a_run_cannot_say_that_it_is_trusted(run: RunDirectory) -> None:
    run.config.write_text("trust: true\n")
    resume_arguments([f"resume={run.path}"])
    assert ConfigStore.instance().load("resumed.yaml").node == {"trust": False}


@pytest.mark.parametrize("node", ["hydra: {job: {env_set: {A: b}}}", "defaults: [{/hydra/launcher: other}]"])
def test_no_node_of_hydra_is_taken_from_a_run(node: str, run: RunDirectory) -> None:
    run.config.write_text(f"seed: 0\n{node}\n")
    with pytest.raises(ValueError, match=rf"config\.yaml.*{node.partition(':')[0]}"):
        resume_arguments([f"resume={run.path}"])


def test_a_relative_directory_stays_the_same_for_other_processes(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path.parent)
    assert f"hydra.run.dir='{run.path}'" in resume_arguments(["resume=a run"])


@pytest.mark.parametrize("name", ["it's", "a\\b", "a,b", "[x] (1)", "café", "1e3", "a'"])
def test_a_directory_may_have_any_name(name: str, run: RunDirectory) -> None:
    path = run.path.rename(run.path.parent / name)
    arguments = resume_arguments(hydra_arguments([f"resume={path}"]))
    values = [OverridesParser.create().parse_override(argument).value() for argument in arguments[-3:-1]]
    assert values == [str(path), str(path)]
    assert resume_arguments(arguments) == arguments


def test_what_leads_out_of_the_run_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (run.path / "report").symlink_to(tmp_path / "disk")
    resume_arguments([f"resume={run.path}"])
    log = run.path / "train.log"
    log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"train\.log is a link or no regular file"):
        resume_arguments([f"resume={run.path}"])
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(ValueError, match=r"train\.log is a link or no regular file"):
        resume_arguments([f"resume={run.path}"])


def test_a_completed_run_trains_on_only_when_epochs_are_given(run: RunDirectory) -> None:
    run.write_status("completed")
    with pytest.raises(ValueError, match=r"the run has completed; trainer\.max_epochs=N trains on, up to N epochs"):
        resume_arguments([f"resume={run.path}"])
    for more in ("trainer.max_epochs=9", "++trainer.max_epochs=9"):
        assert more in resume_arguments([f"resume={run.path}", more])


@pytest.mark.parametrize("argument", ["hydra.run.dir=elsewhere", "--config-name=other", "-cn=other"])
def test_another_directory_or_configuration_is_refused(argument: str, run: RunDirectory) -> None:
    with pytest.raises(ValueError, match=rf"goes on in that directory .* leave out {argument.partition('=')[0]}$"):
        resume_arguments([f"resume={run.path}", argument])


def test_a_part_is_not_exchanged(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match=r"backbone=vgg_gap would exchange a part of the run.*as backbone\.NAME=VALUE"):
        resume_arguments([f"resume={run.path}", "backbone=vgg_gap"])
    assert "backbone.dropout=0" in resume_arguments([f"resume={run.path}", "backbone.dropout=0"])


def test_what_is_missing_is_named(run: RunDirectory) -> None:
    run.last_checkpoint.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no .*last\.ckpt; give the directory of a run that has"):
        resume_arguments([f"resume={run.path}"])


def test_a_run_of_an_earlier_version_is_refused(run: RunDirectory) -> None:
    run.config.write_text("cam: {_target_: mine}\n")
    with pytest.raises(ValueError, match=r"^resume=.* was written by camloc 0\.1; only that version reads it$"):
        resume_arguments([f"resume={run.path}"])


@pytest.mark.parametrize(
    "argument",
    [
        *("cam_threshold=0.9", "probability=0.05", "boxes=all", "masks=true", "top_k=2", "save=[]", "min_size=0.1"),
        *("intensity=full", "precision=bf16-mixed", "attribution=grad_cam", "+attribution.relu=true", "~views"),
        "score_map@box_rule=max",
    ],
)
def test_a_prediction_does_not_go_on_with_other_results(argument: str, run: RunDirectory) -> None:
    run.found.touch()
    key = argument.lstrip("+~").partition("=")[0].partition("@")[0]
    with pytest.raises(ValueError, match=rf"predicts what is left as what is done.* leave out {key}, or"):
        resume_prediction([f"resume={run.path}", "device=cpu", argument])


def test_a_prediction_goes_on_elsewhere(run: RunDirectory) -> None:
    run.found.touch()
    others = ["device=cpu", "devices=2", "batch_size=4", "num_workers=0", "trust=true", "hydra.verbose=true"]
    arguments = resume_prediction(["--config-dir", "mine", f"resume={run.path}", *others])
    assert arguments is not None
    assert arguments[2:10] == ["--config-dir", "mine", *others]
    with pytest.raises(ValueError, match=r"goes on in that directory .* leave out hydra\.run\.dir$"):
        resume_prediction([f"resume={run.path}", "hydra.run.dir=elsewhere"])
