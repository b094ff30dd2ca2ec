import pytest

from camloc.experiment.leaderboard.names import Named, data_of, method_of, network_of, part_name, told_apart

CAM = {"_target_": "camloc.attribution.cam.cam", "_partial_": True}
CONFIG = {
    "backbone": {"_target_": "camloc.backbones.timm_network.timm_network", "name": "resnet50", "output_stride": 16},
    "attribution": CAM,
    "views": {"_target_": "camloc.attribution.views.one_view"},
    "box_rule": {"_target_": "camloc.localization.threshold_sweep.largest_component_boxes"},
    "datamodule": {"_target_": "camloc.data.datasets.cub.Cub", "root": "/data/CUB_200_2011", "input_size": 448},
    "classifier": {"frozen": True},
}


def trained(target: str) -> dict[str, object]:
    return {"objective": {"_target_": target, "_partial_": True, "drop_rate": 0.5}}


def test_names_are_those_of_configuration_files() -> None:
    assert part_name("camloc.data.datasets.tiny_imagenet.TinyImageNet") == "tiny_image_net"
    assert part_name("camloc.backbones.alexnet.alexnet_gap") == "alexnet_gap"


def test_a_network_is_named_with_what_it_may_differ_in() -> None:
    assert network_of(CONFIG) == Named(
        "resnet50", {"output_stride": 16, "input_size": 448, "frozen": True, "cached_views": None}
    )
    with pytest.raises(ValueError, match="its predictions come from files, and no network is known of them"):
        network_of({"backbone": {}})


@pytest.mark.parametrize(
    ("training", "name"),
    [
        (None, "cam"),
        (trained("camloc.objectives.classification.CrossEntropy"), "cam"),
        (trained("camloc.objectives.hide_and_seek.HideAndSeek"), "hide_and_seek + cam"),
        (trained("their.Cam"), "cam"),
    ],
)
def test_a_method_is_an_objective_and_an_attribution(training: dict[str, object] | None, name: str) -> None:
    assert method_of(CONFIG, training).name == name


def test_views_and_box_rules_are_part_of_a_method() -> None:
    other = CONFIG | {
        "views": {"_target_": "camloc.attribution.views.Flip"},
        "box_rule": {"_target_": "camloc.localization.graph_cut.graph_cut_boxes", "iterations": 3},
    }
    found = method_of(other, trained("camloc.objectives.classification.CrossEntropy"))
    assert found.name == "cam, flip, graph_cut_boxes"
    assert found.options == {"objective.drop_rate": 0.5, "box_rule.iterations": 3}


def test_data_sets_of_ones_own_have_their_folders_name() -> None:
    assert data_of(CONFIG) == "cub"
    own = {"datamodule": {"_target_": "camloc.data.datasets.folder.Folder", "root": "/data/my photos/"}}
    assert data_of(own) == "folder my photos"
    assert data_of({"datamodule": {"_target_": "camloc.data.datasets.imagenet.ImageNet"}}) == "imagenet"


def test_options_that_are_missing_and_null_are_the_same() -> None:
    assert told_apart([Named("a", {"x": None, "y": 1}), Named("a", {"y": 1})]) == ["a", "a"]
    assert told_apart([Named("a", {"b.x": 1}), Named("a", {"b.x": 2}), Named("b", {})]) == ["a, x=1", "a, x=2", "b"]
