"""The page of `export(format="web")` in Chromium: typed texts, answers, words, and axe-core."""

import functools
import http.server
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from keras_bert_scratch.serving.fresh_process import PROBE_TEXTS

LABELS = ["<b>bad</b> & worse", "хороший", "电影"]
TYPED = "A very good FILM, über 电影 😀!"
# Opens the pages as a user does, by keyboard, and prints what it found as JSON.
HOW_TO = Path(__file__).parents[2] / "docs/how_to/web_page.md"
SCRIPT = """
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
const { server, folder, browser: executablePath, texts, typed } = JSON.parse(process.argv[2]);
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
const requests = [], errors = [], found = { requests, errors, axe: [], answers: {} };
page.on("request", request => requests.push(request.url()));
page.on("pageerror", error => errors.push(String(error)));
const says = (id, text) => page.waitForFunction(
  ([id, text]) => document.getElementById(id).textContent.includes(text), [id, text]);
const answered = async () => { await says("status", " ms"); await says("how", "sevenfold"); };
const ready = async url => { await page.goto(url); await says("status", "ready"); };

for (const name of ["int8", "float32"]) {
  await ready(`${server}/${name}/index.html`);
  found.answers[name] = await page.evaluate(async ([url, texts]) => {
    const classifier = await (await import(url)).loadClassifier();
    const answers = [];
    for (const text of texts) answers.push(await classifier.classify(text));
    return answers;
  }, [`${server}/${name}/classifier.js`, texts]);
}

const state = async () => ({
  status: await page.textContent("#status"),
  bars: await page.$$eval("#bars li",
    rows => rows.map(row => [...row.children].map(part => part.textContent))),
  words: await page.textContent("#words"),
  marks: await page.$$eval("#words mark", marks => marks.map(mark => mark.textContent)),
  unread: await page.$$eval("#words .unread", parts => parts.map(part => part.textContent)),
  strongest: await page.$$eval("#strongest li", items => items.map(item => item.textContent)),
});
await page.keyboard.press("Tab");
await page.keyboard.insertText(typed);
await page.keyboard.press("Control+Enter");
await answered();
found.typed = await state();
for (const colorScheme of ["light", "dark"])
  for (const width of [1280, 390]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 900 });
    await page.evaluate(axe);
    const { passes, violations } = await page.evaluate(() => axe.run());
    const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    found.axe.push({ passes: passes.length, isWide, paper,
      violations: violations.map(({ id, nodes }) => `${id}: ${nodes[0].target}`) });
  }
found.chosen = await page.evaluate(() => document.getElementById("class").value);

await page.fill("#text", "film ".repeat(60));
await page.focus("#classify");
await page.keyboard.press("Enter");
await answered();
found.long = await state();

await page.focus("#examples button");
await page.keyboard.press("Enter");
await says("status", " ms");
found.example = await page.inputValue("#text");
await page.fill("#text", "");
await page.click("#classify");
await says("status", "empty");
found.empty = await state();
await page.goto(`${server}/float32/own.html`);
await page.locator("#text").pressSequentially("good", { delay: 50 });
await page.waitForFunction(() => document.getElementById("answer").textContent);
await page.waitForTimeout(500);
found.own = await page.textContent("#answer");
requests.push("file:");
await page.goto(`file://${folder}/float32/index.html`);
await says("status", "http.server");
await browser.close();
console.log(JSON.stringify(found));
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def asked(two_layer_classifier, tmp_path_factory, drive_browser):
    """A model, and what a browser found on its pages."""
    folder = tmp_path_factory.mktemp("web")
    model = two_layer_classifier(LABELS)
    for precision in ("int8", "float32"):
        try:
            model.export(
                folder / precision, format="web", precision=precision, examples=["<i> film"]
            )
        except FileNotFoundError as error:
            pytest.skip(str(error))
    (own,) = re.findall("```html.*?\n(.*?)```", HOW_TO.read_text("utf-8"), re.DOTALL)
    (folder / "float32/own.html").write_text(own)
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        settings = {"server": address, "folder": str(folder)}
        try:
            found = drive_browser(SCRIPT, texts=PROBE_TEXTS, typed=TYPED, **settings)
        finally:
            server.shutdown()
    return model, address, found


def test_probabilities_are_those_of_the_model(asked):
    model, _, found = asked
    expected = model.probabilities(PROBE_TEXTS)
    by_precision = {}
    for precision, answers in found["answers"].items():
        rows = [answer["probabilities"] for answer in answers]
        assert all([part["label"] for part in row] == LABELS for row in rows)
        by_precision[precision] = np.array([[part["probability"] for part in row] for row in rows])
        # All but the last are short enough; of it, more is lost than the file takes.
        unread = [answer["unread"] for answer in answers]
        assert [len(parts) for parts in unread] == [0] * 9 + [2]
    np.testing.assert_allclose(by_precision["float32"], expected, atol=1e-5)
    assert (by_precision["int8"].argmax(axis=1) == expected.argmax(axis=1)).all()


def test_a_typed_text_is_answered(asked):
    model, _, found = asked
    (expected,) = model.probabilities([TYPED])
    order = np.argsort(-expected)
    typed = found["typed"]
    assert [bar[0] for bar in typed["bars"]] == [LABELS[i] for i in order]
    assert [bar[2] for bar in typed["bars"]] == [f"{expected[i]:.1%}" for i in order]
    assert typed["status"].startswith(f"{LABELS[order[0]]}: {expected[order[0]]:.1%}, in ")
    assert found["chosen"] == LABELS[order[0]]
    # Each word was left out, and its effect is the model's.
    assert typed["words"] == TYPED
    assert "".join(typed["marks"]) == TYPED.replace(" ", "")
    shares = model.probabilities([TYPED.replace(word, "", 1) for word in typed["marks"]])
    effects = np.abs(np.log(expected / (1 - expected)) - np.log(shares / (1 - shares)))[:, order[0]]
    strongest = int(effects.argmax())
    assert typed["strongest"][0] == (
        f"Without “{typed['marks'][strongest]}”: {shares[strongest][order[0]]:.1%} instead of "
        f"{expected[order[0]]:.1%}"
    )
    assert len(typed["strongest"]) == 5


def test_the_page_of_the_how_to_answers(asked):
    model, _, found = asked
    assert found["own"] == LABELS[model.probabilities(["good"])[0].argmax()]


def test_long_and_empty_texts_and_examples(asked):
    model, _, found = asked
    long, empty = found["long"], found["empty"]
    # 30 words are read, with the blanks between them.
    assert f"did not read {300 - 149} of 300 characters" in long["status"]
    assert long["marks"] == ["film"] * 30
    assert "".join(long["unread"]).split() == ["film"] * 30
    assert found["example"] == "<i> film"
    assert "The text is empty." in empty["status"]
    assert empty["marks"] == empty["strongest"] == []
    assert [bar[2] for bar in empty["bars"]] == [
        f"{p:.1%}" for p in sorted(model.probabilities([""])[0], reverse=True)
    ]


def test_it_is_accessible_and_asks_no_other_host(asked):
    _, address, found = asked
    papers = []
    for view in found["axe"]:
        assert view["passes"] > 15
        assert view["violations"] == []
        assert not view["isWide"]
        papers.append(view["paper"])
    assert papers == ["rgb(255, 255, 255)"] * 2 + ["rgb(21, 24, 28)"] * 2
    assert found["errors"] == []
    asked_of = found["requests"][: found["requests"].index("file:")]
    assert len(asked_of) > 10
    assert all(url.startswith((address, "data:")) for url in asked_of)
