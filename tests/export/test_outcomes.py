from pathlib import Path

import numpy as np
import torch

from camloc.export.outcomes import write_outcomes
from camloc.records import SplitOutcome


def test_bools_are_packed_and_unpack_to_what_they_were(tmp_path: Path) -> None:
    hits = torch.tensor([[True, False, True] * 4, [False] * 12])
    outcome = SplitOutcome(["a", "b"], torch.tensor([3, 7]), {"hits": hits, "pixels": torch.tensor([[1, 2], [3, 4]])})
    write_outcomes(tmp_path / "per_image" / "test.npz", outcome)
    with np.load(tmp_path / "per_image" / "test.npz", allow_pickle=False) as arrays:
        assert arrays["image_ids"].tolist() == ["a", "b"]
        assert arrays["target"].tolist() == [3, 7]
        assert arrays["hits"].shape == (2, 2)
        unpacked = np.unpackbits(arrays["hits"], axis=-1, count=int(arrays["hits_length"])).astype(bool)
        assert arrays["pixels"].tolist() == [[1, 2], [3, 4]]
    assert np.array_equal(unpacked, hits.numpy())
    assert [file.name for file in (tmp_path / "per_image").iterdir()] == ["test.npz"]
