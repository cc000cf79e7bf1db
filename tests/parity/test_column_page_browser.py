"""The server's page of a model of columns in Chromium: typed, chosen and dropped values; axe."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

pytestmark = pytest.mark.slow(minutes=1)

COLUMNS = {
    "the title": {"kind": "text"},
    "price": {"kind": "number", "mean": 1.0, "scale": 2.0},
    "shop": {"kind": "category", "categories": ["north", "south"]},
    "photo": {"kind": "image", "height": 4, "width": 4, "patch_size": 2},
    "clip": {"kind": "audio", "num_frames": 32},
}
# Fills in the form by keyboard, but for the files; prints what it found as JSON.
SCRIPT = """
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
const { server, folder, browser: executablePath } = JSON.parse(process.argv[2]);
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
// axe-core alone needs that the page's policy is not kept.
const context = await browser.newContext({ viewport: { width: 390, height: 900 } });
const page = await context.newPage();
const errors = [], found = { errors, axe: [] };
page.on("pageerror", error => errors.push(String(error)));
const note = () => page.textContent("#note");
const asked = async () => {
  const [response] = await Promise.all([page.waitForResponse(/:predict$/),
    page.keyboard.press("Control+Enter")]);
  await page.waitForFunction(() => document.getElementById("note").textContent !== "…");
  return { row: JSON.parse(response.request().postData()).instances[0], note: await note() };
};
await page.goto(server);
await page.waitForSelector(".field");
found.labels = await page.$$eval(".field label", parts => parts.map(part => part.textContent));
for (const value of ["a red bear", "3.5", "south"]) {
  await page.keyboard.type(value);
  await page.keyboard.press("Tab");
}
await page.setInputFiles("#column-photo", `${folder}/0.png`);
await page.setInputFiles("#column-clip", `${folder}/0.wav`);
found.all = await asked();
found.shown = await page.$eval(".field img", img => img.decode().then(() => img.naturalWidth));
found.command = await page.textContent("#command");
await page.setInputFiles("#column-photo", []);
await page.fill("#column-price", "");
found.some = await asked();
await page.evaluate(async base64 => {
  const bytes = Uint8Array.from(atob(base64), char => char.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], "1.png", { type: "image/png" }));
  const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
  document.getElementById("column-photo").parentElement.dispatchEvent(drop);
}, readFileSync(`${folder}/1.png`).toString("base64"));
found.dropped = await asked();
await page.setInputFiles("#column-photo", `${folder}/0.wav`);
found.wrong = await asked();
await page.close();

const open = await (await browser.newContext({ bypassCSP: true })).newPage();
await open.goto(server);
await open.waitForSelector(".field");
for (const colorScheme of ["light", "dark"])
  for (const width of [1280, 390]) {
    await open.emulateMedia({ colorScheme });
    await open.setViewportSize({ width, height: 900 });
    await open.evaluate(axe);
    const { passes, violations } = await open.evaluate(() => axe.run());
    const isWide = await open.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    found.axe.push({ passes: passes.length, isWide,
      violations: violations.map(({ id, nodes }) => `${id}: ${nodes[0].target}`) });
  }
await browser.close();
console.log(JSON.stringify(found));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures and a sound."""
    folder = tmp_path_factory.mktemp("page")
    generator = np.random.default_rng(0)
    for number in range(2):
        pixels = generator.integers(0, 256, (9, 7, 3), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"{number}.png")
    wavfile.write(folder / "0.wav", 16_000, generator.integers(-9000, 9000, 3000, dtype="int16"))
    return folder


@pytest.fixture(scope="module")
def asked(folder, tiny_column_classifier, drive_browser):
    """A model, and what a browser found on the page of its server."""
    model = tiny_column_classifier(COLUMNS)
    model.export(folder / "offers.tflite", format="litert")
    serve = [sys.executable, "-m", "keras_bert_scratch.cli.main", "serve", "offers.tflite"]
    with subprocess.Popen(
        [*serve, "--port", "0"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        address = next(line.split()[-1] for line in lines if line.startswith("Try it"))
        try:
            found = drive_browser(SCRIPT, server=address, folder=str(folder))
        finally:
            server.terminate()
    return model, found


def test_the_form_asks_for_what_the_model_reads(asked, folder):
    model, found = asked
    assert found["labels"] == list(COLUMNS)
    row = {"the title": "a red bear", "price": 3.5, "shop": "south"}
    photo, clip = str(folder / "0.png"), str(folder / "0.wav")
    rows = {
        "all": {**row, "photo": photo, "clip": clip},
        "some": {**row, "price": None, "photo": None, "clip": clip},
        "dropped": {**row, "price": None, "photo": str(folder / "1.png"), "clip": clip},
    }
    for name, values in rows.items():
        (expected,) = model.probabilities({column: [value] for column, value in values.items()})
        best = int(expected.argmax())
        assert found[name]["note"].startswith(f"{model.labels[best]}, {expected[best]:.4f} (")
    assert found["some"]["row"].keys() == {"the_title", "shop", "clip"}
    assert found["shown"] == 7
    assert '"photo":{"b64":"… the file in base64 …"}' in found["command"]
    assert found["wrong"]["note"].startswith("photo must be PNG or JPEG files, received bytes")
    assert found["errors"] == []


def test_it_is_accessible(asked):
    _, found = asked
    for view in found["axe"]:
        assert view["passes"] > 15
        assert view["violations"] == []
        assert not view["isWide"]
