"""The demo's answers, worked out by hand on red and green squares with halos, and the page in a browser."""

import base64
import http.client
import io
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from runpy import run_path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from camloc.attribution.cam import cam
from camloc.attribution.grad_cam import grad_cam
from camloc.attribution.score_map import score_map
from camloc.backbones.box_head import BoxRegressor
from camloc.data.images.transforms import EvalTransform
from camloc.experiment.configuration import configuration_directory
from camloc.experiment.demo import Trial, chosen_with, methods
from camloc.experiment.demo_server import MAX_UPLOAD, Answer, DemoServer
from camloc.localization.released_boxes import released_boxes
from camloc.predictors.box_network import BoxPredictor
from camloc.predictors.localizer import Localizer
from camloc.predictors.network import NetworkPredictor
from camloc.predictors.placing import Threshold

SQUARES = run_path(str(Path(__file__).with_name("squares.py")))
BROWSER = run_path(str(Path(__file__).parent.parent / "browser.py"))
network: Callable[[], NetworkPredictor] = SQUARES["network"]
RED: Tensor = SQUARES["image"](0, 0.5, (8, 8))
OBJECT, HALO = [1.0, 2.0, 5.0, 6.0], [0.0, 1.0, 8.0, 7.0]
Here = Callable[..., Any]


def encoded(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def trial(predictor: Any = None, attributions: Any = None, **options: Any) -> Trial:  # noqa: ANN401 - the localizer's
    localizer = Localizer(
        predictor or network(),
        ["red", "green"],
        options.pop("transform", EvalTransform(8)),
        partial(score_map, normalization="minmax"),
        threshold=options.pop("threshold", Threshold(0.705, "val")),
        **options,
    )
    return Trial(localizer, attributions or {"cam": cam, "grad_cam": partial(grad_cam, relu=False)}, "a run", "cam")


def test_a_box_at_every_threshold_with_the_map_that_it_is_read_off() -> None:
    asked = trial()
    found = asked.answer(encoded(RED), "cam")
    assert (found["class"], found["width"], found["height"], found["window"]) == (0, 8, 8, [0, 0, 8, 8])
    about = asked.about()
    assert about["cam_thresholds"] == sorted([number / 100 for number in range(100)] + [0.705])
    assert (about["cam_threshold"], about["threshold_source"], about["chosen_with"]) == (0.705, "val", "cam")
    boxes = dict(zip(about["cam_thresholds"], found["boxes"], strict=True))
    assert (boxes[0.3], boxes[0.705]) == (HALO, OBJECT)
    localizer = asked._localizer
    (expected,) = localizer.localize([RED], maps=True)
    assert expected.classes[0].score_map is not None
    shown = np.frombuffer(base64.b64decode(found["map"]), np.uint8).reshape(found["map_size"], -1)
    assert np.array_equal(shown, (expected.classes[0].score_map * 255).round().astype(np.uint8))
    assert found["likely"][0] == (0, pytest.approx(expected.classes[0].probability))
    assert found["probability"] == pytest.approx(expected.classes[0].probability)
    kind, _, content = found["image"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (8, 8)
    json.dumps(found, allow_nan=False)


def test_the_page_says_with_what_the_threshold_was_chosen() -> None:
    folder = configuration_directory()
    own = {"attribution": OmegaConf.load(folder / "attribution" / "cam.yaml"), "views": {"_target_": "a"}}
    of_run = OmegaConf.create(own)
    assert chosen_with(of_run, of_run) == "cam"
    grad = OmegaConf.load(folder / "attribution" / "grad_cam.yaml")
    exchanged = OmegaConf.create({"attribution": grad, "views": {"_target_": "b"}, "box_rule": None})
    assert chosen_with(exchanged, of_run) == "cam and the run's views"
    assert trial(threshold=Threshold(0.3, "given")).about()["chosen_with"] is None


def test_class_and_method_are_chosen() -> None:
    asked = trial()
    found = asked.answer(encoded(RED), "cam", 1)
    assert found["class"] == 1
    assert found["probability"] < 0.5 < found["likely"][0][1]
    assert all(box is None for box in found["boxes"])  # there is nothing green, and its map is flat
    assert asked.answer(encoded(RED), "grad_cam")["boxes"] == asked.answer(encoded(RED), "cam")["boxes"]
    several = trial(several_labels=True).answer(encoded(RED), "cam")
    assert sum(probability for _, probability in several["likely"]) > 1  # a sigmoid's: 0.5 for what is not there


def test_what_gives_no_box_and_what_has_one_box() -> None:
    assert all(box is None for box in trial(objectless=[0]).answer(encoded(RED), "cam")["boxes"])
    uncut = trial(box_rule=released_boxes)
    assert (uncut.about()["cam_thresholds"], uncut.about()["cam_threshold"]) == ([], None)
    assert len(uncut.answer(encoded(RED), "cam")["boxes"]) == 1


def test_a_centre_crop_is_placed_in_the_image() -> None:
    wide = torch.zeros(3, 256, 512, dtype=torch.uint8)
    wide[0, 64:192, 192:320] = 255
    found = trial(transform=EvalTransform(8, "centre_crop")).answer(encoded(wide), "cam")
    assert found["window"] == [144, 16, 368, 240]
    assert found["boxes"][50] is not None
    assert (found["width"], found["height"]) == (512, 256)


@pytest.mark.parametrize(
    ("content", "method", "index", "message"),
    [
        (b"", "cam", None, "empty"),
        (b"no image", "cam", None, "image"),
        (encoded(RED)[:40], "cam", None, "image"),
        (encoded(RED), "cams", None, "method=cams is none of cam, grad_cam"),
        (encoded(RED), "cam", 2, "class=2 must lie in 0 to 1"),
        (encoded(RED), "cam", -1, "class=-1 must lie in 0 to 1"),
    ],
)
def test_what_cannot_be_answered_is_said(content: bytes, method: str, index: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trial().answer(content, method, index)


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="predicts boxes itself"):
        trial(BoxPredictor(BoxRegressor(network().backbone)))


def test_the_runs_own_method_comes_first() -> None:
    folder = configuration_directory()
    views = OmegaConf.load(folder / "views" / "none.yaml")
    given = OmegaConf.load(folder / "attribution" / "grad_cam.yaml")
    assert next(iter(methods(OmegaConf.create({"views": views, "attribution": given})))) == "grad_cam"
    given.relu = False  # as no file has it
    found = methods(OmegaConf.create({"views": views, "attribution": given}))
    assert next(iter(found)) == "of_run"
    assert {"cam", "grad_cam", "saliency"} < set(found)


@contextmanager
def serving(about: dict[str, Any], answer: Answer, host: str = "127.0.0.1") -> Iterator[DemoServer]:
    with DemoServer(host, 0, about, answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(
    server: DemoServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.headers), content


def said(found: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return found[0], json.loads(found[2])["error"]


def test_a_page_and_its_question() -> None:
    asked: list[tuple[bytes, str, int | None]] = []

    def answer(content: bytes, method: str, index: int | None) -> dict[str, Any]:
        asked.append((content, method, index))
        if content == b"broken":
            raise ValueError("it is broken")
        if content == b"worse":
            raise KeyError("x")
        return {"class": 3}

    with serving({"title": "</script><b>", "class_names": ["é"]}, answer) as server:
        assert server.address == f"http://127.0.0.1:{server.server_port}/"
        status, headers, page = ask(server, "GET", "/")
        assert status == 200
        assert b'"\\u003c/script>\\u003cb>"' in page
        assert b"{{" not in page
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert ask(server, "POST", "/answer?method=cam&class=3", b"image")[::2] == (200, b'{"class": 3}')
        assert ask(server, "POST", "/answer?method=cam&class=", b"image")[0] == 200
        assert asked == [(b"image", "cam", 3), (b"image", "cam", None)]
        assert said(ask(server, "POST", "/answer?method=cam", b"broken")) == (400, "it is broken")
        assert said(ask(server, "POST", "/answer?method=cam", b"worse")) == (500, "KeyError: 'x'")
        assert said(ask(server, "POST", "/answer?class=-1", b"image"))[0] == 400
        assert ask(server, "GET", "/etc/passwd")[0] == ask(server, "POST", "/", b"")[0] == 404
        assert ask(server, "PUT", "/", b"")[0] == 501
        too_large = said(ask(server, "POST", "/answer", Content_Length=str(MAX_UPLOAD + 1)))
        assert too_large == (413, "the file is larger than 64 MiB")
        assert said(ask(server, "POST", "/answer", Content_Length="x"))[0] == 411
        assert said(ask(server, "POST", "/answer", Content_Length="1" * 5000))[0] == 400
        for method in ("GET", "POST"):  # which http.client would not send
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as raw:
                raw.sendall(f"{method} http://[ HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
                assert raw.recv(12) == b"HTTP/1.0 400"
        with pytest.raises(ValueError, match=f"port={server.server_port} cannot be listened on"):
            DemoServer("127.0.0.1", server.server_port, {}, answer)


def test_a_browser_that_goes_away_is_silent_and_a_defect_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    server = DemoServer("127.0.0.1", 0, {}, lambda *_: {})
    for error in (BrokenPipeError(), ConnectionResetError(), ZeroDivisionError()):
        assert capsys.readouterr().err == ""
        try:
            raise error
        except (ConnectionError, ZeroDivisionError):
            server.handle_error(None, ("127.0.0.1", 1))
    assert "ZeroDivisionError" in capsys.readouterr().err
    server.server_close()


def test_what_is_wrong_with_an_upload_is_said_without_its_place() -> None:
    for content in (b"", b"no image", encoded(RED)[:40]):
        with pytest.raises(ValueError, match="the image") as said:
            trial().answer(content, "cam")
        assert not any(words in str(said.value) for words in ("/", "data set"))


def test_other_websites_are_refused() -> None:
    with serving({}, lambda *_: {}) as server:
        port = server.server_port
        assert ask(server, "GET", "/", Host=f"localhost:{port}")[0] == 200
        foreign: list[dict[str, Any]] = [{"Host": f"evil.example:{port}"}, {"Origin": "http://evil.example"}]
        for headers in (*foreign, {"Origin": "null"}):
            assert ask(server, "GET", "/", **headers)[0] == 403
            assert ask(server, "POST", "/answer", b"", **headers)[0] == 403
        assert ask(server, "POST", "/answer", b"", Origin=f"http://127.0.0.1:{port}")[0] == 200
    with serving({}, lambda *_: {}, host="0.0.0.0") as server:  # noqa: S104 - as its user asked
        assert ask(server, "GET", "/", Host="my-machine:1")[0] == 200
        assert ask(server, "GET", "/", Host="my-machine:1", Origin="http://evil.example")[0] == 403


def test_the_command_serves_until_a_signal_comes(
    trained: tuple[Path, str], here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []

    def look(_: float) -> None:
        (server,) = servers
        content = encoded(torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8))
        answers.append(ask(server, "POST", "/answer?method=cam", content))
        answers.append(ask(server, "POST", "/answer?method=saliency&class=2", content))
        os.kill(os.getpid(), signal.SIGINT)

    servers: list[DemoServer] = []

    class Kept(DemoServer):
        def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - the server's
            super().__init__(*arguments)
            servers.append(self)

    monkeypatch.setattr("camloc.experiment.demo.DemoServer", Kept)
    monkeypatch.setattr(time, "sleep", look)
    run = tmp_path / "run"
    answer = here("demo", f"checkpoint={trained[0]}", "port=0", "device=cpu", f"hydra.run.dir={run}")
    assert answer.returncode == 0, answer.stderr
    assert "demo: http://127.0.0.1:" in answer.stdout
    assert [status for status, *_ in answers] == [200, 200]
    found = [json.loads(content) for *_, content in answers]
    assert (found[0]["map_size"], found[1]["class"], len(found[0]["boxes"])) == (64, 2, len(found[1]["boxes"]))
    assert json.loads((run / "status.json").read_text())["status"] == "completed"


@pytest.mark.integration
@pytest.mark.skipif(BROWSER["missing"]() is not None, reason=str(BROWSER["missing"]()))
def test_the_slider_moves_the_box_in_a_browser(tmp_path: Path) -> None:
    asked = trial()
    about = {**asked.about(), "title": "<img src=x onerror=alert(1)>"}
    file = tmp_path / "red.png"
    file.write_bytes(encoded(RED))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with serving(about, asked.answer) as server, BROWSER["browser"]() as browser:
        page = browser.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(server.address)
        assert page.locator("#title").inner_text() == about["title"]
        page.set_input_files("#file", file)
        page.locator("#box", has_text="red").wait_for()
        assert page.locator("#box").inner_text() == "red: 1, 2, 5, 6 of 8 x 8"
        page.locator("#threshold").evaluate("s => { s.value = 30; s.dispatchEvent(new Event('input')); }")
        assert page.locator("#box").inner_text() == "red: 0, 1, 8, 7 of 8 x 8"
        assert page.locator("#value").inner_text() == "0.300"
        before = page.evaluate("document.getElementById('canvas').toDataURL()")
        page.check("#above")
        page.locator("#threshold").evaluate("s => { s.value = 80; s.dispatchEvent(new Event('input')); }")
        assert page.evaluate("document.getElementById('canvas').toDataURL()") != before
        page.click("#reset")
        assert page.locator("#value").inner_text() == "0.705"
        page.select_option("#class", "1")
        page.locator("#box", has_text="green: no box").wait_for()
        page.select_option("#method", "grad_cam")
        page.wait_for_selector("#said:empty", state="attached")
        assert problems == []
        page.set_input_files("#file", tmp_path / "broken.png")
        page.wait_for_selector("#said.wrong")
