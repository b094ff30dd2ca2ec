import hashlib
import re
import sys
from collections import OrderedDict
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights, WeightsEnum
from torchvision.models._api import Weights

from camloc.backbones.weights import load_trunk, locate

ALEXNET = AlexNet_Weights.IMAGENET1K_V1


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only file:// addresses through."""
    download = torch.hub.download_url_to_file

    def local_only(url: str, dst: str, hash_prefix: str | None = None) -> None:
        if not url.startswith("file://"):
            raise URLError("Temporary failure in name resolution")
        download(url, dst, hash_prefix, progress=False)

    monkeypatch.setattr(torch.hub, "download_url_to_file", local_only)


def trunk() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2))


def entries() -> dict[str, Tensor]:
    """What a published file of that trunk and its head holds."""
    return {
        "features.0.weight": torch.tensor([3.0, 4.0]).view(2, 1, 1, 1),
        "features.1.weight": torch.tensor([1.0, 2.0]),
        "features.1.bias": torch.tensor([5.0, 6.0]),
        "features.1.running_mean": torch.tensor([7.0, 8.0]),
        "features.1.running_var": torch.tensor([9.0, 10.0]),
        "features.1.num_batches_tracked": torch.tensor(11),
        "classifier.weight": torch.zeros(1000, 2),
    }


def load(file: Path, into: nn.Module | None = None) -> None:
    load_trunk(
        trunk() if into is None else into,
        str(file),
        ALEXNET,
        prefix="features.",
        replaced=("classifier.", "aux."),
    )


def save(tmp_path: Path, content: object, *, old_format: bool = False) -> Path:
    torch.save(content, tmp_path / "file.pth", _use_new_zipfile_serialization=not old_format)
    return tmp_path / "file.pth"


class TestLocate:
    def test_name_is_a_place_in_torchs_cache(self, cache: Path) -> None:
        assert locate("IMAGENET1K_V1", ALEXNET) == cache / "alexnet-owt-7be5be79.pth"

    def test_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = save(tmp_path, {})
        assert locate(str(file), ALEXNET) == file
        monkeypatch.setenv("HOME", str(tmp_path))
        assert locate("~/file.pth", ALEXNET) == file

    def test_unknown_name(self) -> None:
        with pytest.raises(ValueError, match=r"weights=IMAGENET1K_V2: .*give IMAGENET1K_V1 .*null"):
            locate("IMAGENET1K_V2", ALEXNET)

    def test_no_such_file(self, tmp_path: Path) -> None:
        for path in (tmp_path / "missing.pth", tmp_path):  # the second is a folder
            with pytest.raises(FileNotFoundError, match=f"weights={path}: there is no such file"):
                locate(str(path), ALEXNET)


class TestExactness:
    def test_every_entry_arrives(self, tmp_path: Path) -> None:
        filled = trunk()
        load(save(tmp_path, entries()), filled)
        state = filled.state_dict()
        assert {key: value.flatten().tolist() for key, value in state.items()} == {
            "0.weight": [3, 4],
            "1.weight": [1, 2],
            "1.bias": [5, 6],
            "1.running_mean": [7, 8],
            "1.running_var": [9, 10],
            "1.num_batches_tracked": [11],
        }

    def test_safetensors(self, tmp_path: Path) -> None:
        save_file(entries(), tmp_path / "file.safetensors")
        filled = trunk()
        load(tmp_path / "file.safetensors", filled)
        assert filled.state_dict()["1.bias"].tolist() == [5, 6]

    def test_file_from_before_the_batch_counter(self, tmp_path: Path) -> None:
        old = OrderedDict((key, nn.Parameter(value)) for key, value in entries().items() if value.ndim)
        filled = trunk()
        filled.state_dict()["1.num_batches_tracked"].fill_(4)
        load(save(tmp_path, old, old_format=True), filled)
        assert filled.state_dict()["1.num_batches_tracked"].item() == 0
        assert filled.state_dict()["1.running_var"].tolist() == [9, 10]

    def test_not_finite(self, tmp_path: Path) -> None:
        state = trunk().state_dict()
        state["0.weight"][0] = torch.nan
        torch.save(state, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match=r"weights\.pth has numbers under 0\.weight that are not finite"):
            load_trunk(trunk(), str(tmp_path / "weights.pth"), ALEXNET)

    def test_key_too_many(self, tmp_path: Path) -> None:
        more = entries() | {f"features.{n}.weight": torch.zeros(1) for n in range(2, 7)}
        match = re.escape("does not have: features.2.weight, features.3.weight, features.4.weight and 2 more; ")
        with pytest.raises(ValueError, match=f"file.pth has keys .*{match}.*alexnet-owt-7be5be79.pth"):
            load(save(tmp_path, more))

    @pytest.mark.parametrize("key", ["features.0.weight", "features.1.running_mean"])
    def test_key_too_few(self, key: str, tmp_path: Path) -> None:
        less = entries()
        del less[key]
        with pytest.raises(ValueError, match=f"file.pth lacks keys of this backbone: {key}; "):
            load(save(tmp_path, less))

    def test_replaced_head_may_be_absent(self, tmp_path: Path) -> None:
        less = entries()
        del less["classifier.weight"]
        load(save(tmp_path, less))

    def test_wrong_shape_changes_nothing(self, tmp_path: Path) -> None:
        wrong = entries() | {"features.0.weight": torch.zeros(2, 3, 1, 1)}
        untouched = trunk()
        before = {key: value.clone() for key, value in untouched.state_dict().items()}
        match = re.escape("features.0.weight has shape (2, 3, 1, 1), this backbone needs (2, 1, 1, 1)")
        with pytest.raises(ValueError, match=match):
            load(save(tmp_path, wrong), untouched)
        assert all(torch.equal(value, before[key]) for key, value in untouched.state_dict().items())


class TestUnreadableFiles:
    def test_checkpoint_of_something_else(self, tmp_path: Path) -> None:
        file = save(tmp_path, {"epoch": 1, "state_dict": entries()})
        with pytest.raises(
            ValueError, match=r"file\.pth is not a state dict but a dict with the keys epoch, state_dict"
        ):
            load(file)

    def test_optimizer_state(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"file\.pth is not a state dict but a dict with the keys 0, 1;"):
            load(save(tmp_path, {0: torch.zeros(1), 1: torch.zeros(1)}))

    def test_list(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is not a state dict but a list; save the plain tensors"):
            load(save(tmp_path, [torch.zeros(1)]))

    @pytest.mark.parametrize("old_format", [False, True])
    def test_pickled_code_is_refused_and_not_run(self, old_format: bool, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        file = save(tmp_path, {"features.0.weight": RunsWhenUnpickled(trace)}, old_format=old_format)
        with pytest.raises(ValueError, match="holds pickled objects, which could run code; save the plain"):
            load(file)
        assert not trace.exists()

    @pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", bytes(range(256))])
    def test_no_checkpoint(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "file.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"file\.pth is damaged or was not written by torch.save"):
            load(tmp_path / "file.pth")

    @pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", bytes(range(256))])
    def test_no_safetensors(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "file.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"file\.safetensors is damaged or not a safetensors file"):
            load(tmp_path / "file.safetensors")

    def test_safetensors_without_the_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save_file(entries(), tmp_path / "file.safetensors")
        monkeypatch.setitem(sys.modules, "safetensors", None)
        with pytest.raises(
            ValueError, match=r"file\.safetensors needs the package safetensors: pip install 'camloc\[timm\]'"
        ):
            load(tmp_path / "file.safetensors")

    @pytest.mark.parametrize("old_format", [False, True])
    def test_cut_short(self, old_format: bool, tmp_path: Path) -> None:
        file = save(tmp_path, entries(), old_format=old_format)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(ValueError, match=r"file\.pth is damaged"):
            load(file)


class RunsWhenUnpickled:
    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.trace, "w")


class TestDownload:
    def published(self, tmp_path: Path, *, digest: str | None = None) -> WeightsEnum:
        """Publish the entries on a file:// address, under a name that ends in the content's hash."""
        (tmp_path / "site").mkdir()
        content = save(tmp_path, entries()).read_bytes()
        digest = digest or hashlib.sha256(content).hexdigest()[:8]
        source = tmp_path / "site" / f"tiny-{digest}.pth"
        source.write_bytes(content)
        weights = Weights(url=source.as_uri(), transforms=nn.Identity, meta={})
        return WeightsEnum("Tiny_Weights", {"TINY_V1": weights})["TINY_V1"]

    def load(self, published: WeightsEnum) -> nn.Module:
        filled = trunk()
        load_trunk(filled, "TINY_V1", published, prefix="features.", replaced=("classifier.",))
        return filled

    def test_fetched_once(self, tmp_path: Path, cache: Path) -> None:
        published = self.published(tmp_path)
        assert self.load(published).state_dict()["1.bias"].tolist() == [5, 6]
        next((tmp_path / "site").iterdir()).unlink()
        assert self.load(published).state_dict()["1.bias"].tolist() == [5, 6]
        assert len(list(cache.iterdir())) == 1

    def test_wrong_hash_leaves_nothing_behind(self, tmp_path: Path, cache: Path) -> None:
        published = self.published(tmp_path, digest="00000000")
        with pytest.raises(FileNotFoundError, match=r"could not download .*invalid hash"):
            self.load(published)
        assert list(cache.iterdir()) == []

    def test_offline_says_what_to_put_where(self, cache: Path) -> None:
        with pytest.raises(FileNotFoundError) as caught:
            load_trunk(trunk(), "IMAGENET1K_V1", ALEXNET, prefix="features.", replaced=("classifier.",))
        message = str(caught.value)
        assert "could not download https://download.pytorch.org/models/alexnet-owt-7be5be79.pth" in message
        assert "Temporary failure in name resolution" in message
        assert f"put it into {cache}" in message
        assert "weights=/path/to/alexnet-owt-7be5be79.pth" in message

    def test_file_put_into_the_cache_is_found_offline(self, tmp_path: Path, cache: Path) -> None:
        cache.mkdir(parents=True)
        save(tmp_path, entries()).rename(cache / "alexnet-owt-7be5be79.pth")
        filled = trunk()
        load_trunk(filled, "IMAGENET1K_V1", ALEXNET, prefix="features.", replaced=("classifier.",))
        assert filled.state_dict()["1.bias"].tolist() == [5, 6]

    def test_cache_that_cannot_be_written(self, tmp_path: Path, cache: Path) -> None:
        published = self.published(tmp_path)
        cache.parent.mkdir(parents=True)
        cache.write_text("a file where the folder should be")
        with pytest.raises(FileNotFoundError, match="could not download"):
            self.load(published)
