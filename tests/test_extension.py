"""Each part of camloc is one file and one yaml, outside the package as well."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import cv2
import numpy as np
import pytest

SMALL = ("trainer.accelerator=cpu", "trainer.max_epochs=1", "callbacks.gallery.count=1", "datamodule.batch_size=4")

MODULES = {
    "my_backbone": '''
        """A network of one convolution."""

        from torch import nn

        from camloc.backbones.gap import GapBackbone


        def build(num_classes, width=4):
            return GapBackbone(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), num_maps=width, num_classes=num_classes)
    ''',
    "my_attribution": '''
        """The mean of the feature maps, whatever the class."""

        import torch

        from camloc.attribution.contract import Attributed


        @torch.no_grad()
        def mean_map(backbone, images, choose):
            features = backbone.forward_features(images)
            logits = backbone.forward_head(features)
            pairs = choose(logits)
            return Attributed(logits, pairs, features.maps.mean(dim=1)[pairs.image_index].float())
    ''',
    "my_views": '''
        """The image and the same image again."""

        from camloc.attribution.contract import Attributed


        class Twice:
            def __init__(self, attribution):
                self.attribution = attribution

            def __call__(self, backbone, images, choose):
                first = self.attribution(backbone, images, choose)
                second = self.attribution(backbone, images, lambda _: first.pairs)
                return Attributed(first.logits, first.pairs, (first.cams + second.cams) / 2)
    ''',
    "my_objective": '''
        """Two losses by name."""

        from torch import nn
        from torch.nn.functional import cross_entropy

        from camloc.objectives.contract import Losses


        class WithPenalty(nn.Module):
            def __init__(self, class_counts, weight):
                super().__init__()
                self.weight = weight

            def forward(self, backbone, batch):
                logits = backbone(batch.images)
                penalty = self.weight * logits.square().mean()
                return Losses({"cross_entropy": cross_entropy(logits, batch.target), "penalty": penalty}, logits)
    ''',
    "my_box_rule": '''
        """The whole map, whatever is in it."""

        import torch


        def whole_map(score_maps, cam_thresholds):
            count, height, width = score_maps.shape
            return torch.tensor([0, 0, width, height]).expand(count, len(cam_thresholds), 4)
    ''',
    "my_protocol": '''
        """The mean score inside the true boxes."""

        import torch

        from camloc.metrics.contract import Protocol
        from camloc.records import Outcome, Row


        class ScoreInside(Protocol):
            rows = (Row("score_inside", "score inside the true boxes", "max"),)

            def __init__(self):
                super().__init__()
                self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
                self.add_state("num_images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

            def update(self, score_maps, gt_boxes):
                values = []
                for score_map, boxes in zip(score_maps, gt_boxes, strict=True):
                    x0, y0, x1, y1 = boxes[0].round().int().tolist()
                    values.append(score_map[max(y0, 0) : y1, max(x0, 0) : x1].double().mean())
                self.total += torch.stack(values).sum().to(self.total.device) if values else 0
                self.num_images += len(values)
                return Outcome({"score": torch.stack(values).cpu() if values else torch.zeros(0)})

            def compute(self):
                return {"score_inside": self.total / self.num_images, "my_num_images": self.num_images.clone()}
    ''',
    "my_data": '''
        """Bright squares on the left or on the right."""

        import torch

        from camloc.data.loading.datamodule import LocalizationDataModule


        class Side:
            def __init__(self, name, length):
                self.name, self.length = name, length

            def __len__(self):
                return self.length

            def image_id(self, index):
                return f"{self.name}-{index}"

            def target(self, index):
                return index % 2

            def image(self, index, shrink=None):
                image = torch.zeros(3, 16, 24, dtype=torch.uint8)
                x0 = 14 * self.target(index) + 1
                image[:, 4:12, x0 : x0 + 8] = 200
                return image

            def file(self, index):
                return None

            def gt_boxes(self, index):
                x0 = 14.0 * self.target(index) + 1
                return [torch.tensor([[x0, 4.0, x0 + 8, 12.0]])]

            def masks(self, index):
                return None


        class Sides(LocalizationDataModule):
            def __init__(self, length, **options):
                super().__init__(("left", "right"), **options)
                self.length = length

            def load_split(self, name):
                return Side(name, self.length)
    ''',
    "my_reader": '''
        """x0 y0 x1 y1 in a text file per image."""

        from camloc.data.annotations.contract import BoxFileReader
        from camloc.data.annotations.objects import Objects


        class TextReader(BoxFileReader):
            endings = (".box.txt",)

            def read(self, file, image):
                return Objects.checked([tuple(map(float, file.read_text().split()))], [None], str(file))
    ''',
}
CONFIGS = {
    "backbone/mine": "_target_: my_backbone.build\n_partial_: true\nwidth: 6\n",
    "attribution/mine": "_target_: my_attribution.mean_map\n_partial_: true\n",
    "views/mine": "_target_: my_views.Twice\n_partial_: true\n",
    "objective/mine": "_target_: my_objective.WithPenalty\n_partial_: true\nweight: 0.1\n",
    "box_rule/mine": "_target_: my_box_rule.whole_map\n_partial_: true\n",
    "localization/mine": "protocols:\n  mine:\n    _target_: my_protocol.ScoreInside\n",
    "datamodule/mine": "defaults: [loader, _self_]\n_target_: my_data.Sides\nlength: 8\ninput_size: 24\n",
    "datamodule/annotations/mine": "_target_: my_reader.TextReader\n",
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory with a module and a yaml for each kind of part, and nothing of camloc."""
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(dedent(source).lstrip())
    for name, text in CONFIGS.items():
        file = tmp_path / "my_conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def camloc(elsewhere: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("camloc")
    return subprocess.run(
        [program, *arguments],
        cwd=elsewhere,
        env={**os.environ, "COLUMNS": "160", "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_every_part_runs_from_outside_the_package(elsewhere: Path) -> None:
    parts = [f"{name.split('/')[0]}=mine" for name in CONFIGS if name.count("/") == 1 and "localization" not in name]
    chosen = (*parts, "localization=[val_threshold,mine]", *SMALL, "hydra.run.dir=run")
    finished = camloc(elsewhere, "train", "--config-dir", "my_conf", *chosen)
    assert finished.returncode == 0, finished.stderr
    metrics = json.loads((elsewhere / "run" / "metrics.json").read_text())
    # The box rule's whole map against a box of 8x8 in 16x24.
    assert metrics["test/localization/gt_known_error"] == 1
    assert metrics["test/localization/gt_known_hits"] == 0
    assert 0 <= metrics["test/localization/score_inside"] <= 1
    assert "score inside the true boxes" in finished.stdout
    columns = (elsewhere / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "train/loss/cross_entropy", "train/loss/penalty"} <= set(columns)

    again = camloc(elsewhere, "evaluate", "--config-dir", "my_conf", "checkpoint=run", SMALL[0], "hydra.run.dir=again")
    assert again.returncode == 0, again.stderr
    found = json.loads((elsewhere / "again" / "metrics.json").read_text())
    assert found["test/localization/gt_known_hits"] == 0


def test_an_annotation_reader_runs_from_outside_the_package(elsewhere: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            folder = elsewhere / "data" / split / name
            folder.mkdir(parents=True)
            for index in range(4):
                cv2.imwrite(str(folder / f"{split}{index}{name}.png"), rng.integers(0, 255, (20, 30, 3)))
                if split != "train":
                    (folder / f"{split}{index}{name}.box.txt").write_text("2 3 22 17")
    finished = camloc(
        elsewhere,
        *(
            "train",
            "--config-dir",
            "my_conf",
            "datamodule=folder",
            "datamodule.root=data",
            "datamodule/annotations=mine",
        ),
        *("backbone=mine", "datamodule.input_size=24", "datamodule.num_workers=0", *SMALL, "hydra.run.dir=run"),
    )
    assert finished.returncode == 0, finished.stderr
    metrics = json.loads((elsewhere / "run" / "metrics.json").read_text())
    assert metrics["test/localization/num_images"] == 8
    # The best centred box finds the one box of every image.
    assert metrics["test/localization/centred_box_gt_known_error"] == 0
