"""Pictures sent as they are, and the page on which a person drops one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
from typing import Any

import aiohttp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.runtime.errors import ServingError
from model_server.runtime.images import read_pictures

NAMES = ["nought", "<b>one</b>", "zwö"]


@pytest.fixture
def files(digits, tmp_path) -> list[Any]:
    """The PNG files whose scores TensorFlow has told."""
    paths = [tmp_path / f"{i}.png" for i in range(len(digits[2]["files"]))]
    for path, text in zip(paths, digits[2]["files"], strict=True):
        path.write_bytes(base64.b64decode(str(text)))
    return paths


def _scores(prediction: Any, names: list[str]) -> list[float]:
    found = {entry["class"]: entry["probability"] for entry in prediction["classes"]}
    return [found[name] for name in names]


def test_a_picture_gives_named_classes_the_likeliest_first(server, digits, files):
    answer = server.predict("digits", files[0].read_bytes(), {"Content-Type": "image/png"})
    (prediction,) = answer.json["predictions"]
    np.testing.assert_allclose(_scores(prediction, NAMES), digits[2]["scores"][0], atol=1e-5)
    ranked = [entry["probability"] for entry in prediction["classes"]]
    assert ranked == sorted(ranked, reverse=True)
    assert prediction["class"] == NAMES[int(digits[2]["scores"][0].argmax())]
    assert prediction["probability"] == ranked[0]


def test_classes_without_names_are_numbered(server, digits, files):
    answer = server.predict("digits/versions/1", files[1].read_bytes(), {"Content-Type": "IMAGE/JPEG; x=y"})
    (prediction,) = answer.json["predictions"]
    np.testing.assert_allclose(_scores(prediction, ["0", "1", "2"]), digits[1]["scores"][1], atol=1e-5)


def test_curl_sends_a_web_form_with_several_pictures(server, digits, files):
    fields = [word for path in files for word in ("--form", f"image=@{path}")]
    url = f"http://127.0.0.1:{server.port}/v1/models/digits:predict"
    done = subprocess.run(["curl", "--silent", "--max-time", "30", *fields, url], capture_output=True, check=True)
    predictions = json.loads(done.stdout)["predictions"]
    np.testing.assert_allclose([_scores(p, NAMES) for p in predictions], digits[2]["scores"], atol=1e-5)


def _lying(data: bytes) -> bytes:
    """A PNG that says it is 2 Gi pixels wide."""
    return data[:16] + b"\x7f\xff\xff\xff" + data[20:]


_FORM = "multipart/form-data; boundary=b"
_FIELD = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="x"\r\n\r\n%s\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("model", "kind", "body", "message"),
    [
        ("digits", "image/png", b"", "the body is empty, although its Content-Type is image/png"),
        ("digits", "image/png", b"no picture", "Unknown image file format"),
        ("digits", _FORM, _FIELD % (b"picture", b"x"), "the form has no field 'image'"),
        ("digits", _FORM, _FIELD % (b"image", b""), "a field 'image' of the form is empty"),
        ("digits", _FORM, b"", "its last boundary is missing"),
        ("digits", _FORM, (_FIELD % (b"image", b"x"))[:-6], "its last boundary is missing"),
        ("digits", _FORM, b"--b\r\nno headers\r\n--b--", "a part of the form has no end of its headers"),
        ("digits", "multipart/form-data", b"", "has no boundary"),
        ("digits", _FORM, b"--b\r\n\r\n\r\n" * 1100 + b"--b--", "more than 1000 fields"),
        ("types", "image/png", b"x", "this model does not take pictures"),
        ("ghost", "image/png", b"x", "Servable not found for request: Latest(ghost)"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(server, model, kind, body, message):
    answer = server.predict(model, body, {"Content-Type": kind})
    assert message in answer.error
    assert answer.status == (404 if model == "ghost" else 400)


def test_a_picture_that_lies_about_its_size_is_refused(server, files):
    data = files[0].read_bytes()
    for body in (_lying(data), data[: len(data) // 2]):
        assert server.predict("digits", body, {"Content-Type": "image/png"}).status == 400
    assert server.predict("digits", data, {"Content-Type": "image/png"}).status == 200


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60).filter(lambda data: data and b"--b" not in data), min_size=1, max_size=4))
def test_what_is_put_into_a_form_comes_out_of_it(contents):
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
    body = b"".join(head + content + b"\r\n" for content in contents) + b"--b--\r\n"
    pictures = read_pictures(_FORM, body)
    assert pictures is not None
    assert list(pictures.files) == contents


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.binary(max_size=80))
def test_any_form_is_pictures_or_a_sentence(boundary, body):
    with contextlib.suppress(ServingError):  # any other exception fails the test
        read_pictures(f"multipart/form-data; boundary={boundary}", body)


def test_the_page_names_the_models_that_take_pictures(server):
    answer = server.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b'id="models">["digits"]</script>' in answer.body


@pytest.fixture
def browser_port(server, tmp_path, until):
    """The debugging port of a Chromium that shows the page."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --remote-debugging-port=0"
    profile = tmp_path / "profile"
    command = ["chromium", *flags.split(), f"--user-data-dir={profile}", f"http://127.0.0.1:{server.port}/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        port_file = profile / "DevToolsActivePort"
        try:
            yield until(lambda: port_file.exists() and port_file.read_text().split(), "chromium listens")[0]
        finally:
            browser.terminate()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
async def test_a_person_chooses_a_picture_or_drops_one_and_sees_its_classes(browser_port, digits, files, tmp_path):
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{browser_port}/json/list") as response:
            pages = [page for page in await response.json() if page["type"] == "page"]
        async with session.ws_connect(pages[0]["webSocketDebuggerUrl"]) as socket:
            await _choose_drop_and_look(socket, [str(file) for file in files[:2]], digits[2]["scores"], tmp_path)


async def _choose_drop_and_look(socket: Any, files: list[str], scores: Any, folder: Any) -> None:
    numbers = itertools.count(1)

    async def call(method: str, **parameters: Any) -> Any:
        number = next(numbers)
        await socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await socket.receive_json(timeout=30)
            if answer.get("id") == number:
                return answer.get("result", {})

    async def wait_for(expression: str) -> Any:
        async with asyncio.timeout(30):
            while True:
                # Before the page is there the expression fails, or its context goes away.
                answer = await call("Runtime.evaluate", expression=expression, returnByValue=True)
                if "exceptionDetails" not in answer and (value := answer.get("result", {}).get("value")):
                    return value
                await asyncio.sleep(0.02)

    assert await wait_for("document.getElementById('model').value") == "digits"
    document = await call("DOM.getDocument")
    chooser = await call("DOM.querySelector", nodeId=document["root"]["nodeId"], selector="#file")
    await call("DOM.setFileInputFiles", nodeId=chooser["nodeId"], files=files[:1])
    rows = "[...document.querySelectorAll('#classes tr')].map(row => row.cells[0].textContent).join('|')"

    async def sees(scores: Any) -> None:
        likeliest = [NAMES[int(i)] for i in scores.argsort()[::-1]]
        named = f"document.getElementById('answer').textContent == {json.dumps(likeliest[0])}"
        assert await wait_for(f"{named} && {rows}") == "|".join(likeliest)

    await sees(scores[0])
    box = "document.getElementById('drop').getBoundingClientRect()"
    x, y = await wait_for(f"[{box}.x + 20, {box}.y + 20]")
    dragged = {"items": [], "files": files[1:], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        await call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=dragged)
    assert await wait_for("document.getElementById('drop').className") == "over"
    await call("Input.dispatchDragEvent", type="drop", x=x, y=y, data=dragged)
    # The page takes the first answer away as it takes the drop.
    assert await wait_for("document.getElementById('drop').className == ''")
    await sees(scores[1])
    picture = await call("Page.captureScreenshot")
    (folder / "page.png").write_bytes(base64.b64decode(picture["data"]))
