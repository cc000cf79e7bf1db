"""axe-core finds nothing on any page of the site, at a desk's width and a phone's, light and dark.

It runs where `make docs` built site/, and `npm` and `chromium` are found.
"""

import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "site"
AXE = "axe-core@4.14.1"
PAGES = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("index.html"))
# Every page at both widths, and in turn light at one and dark at the other, or the other way round.
RUNNER = """<!doctype html><script type="module">
const found = [];
for (const [number, page] of PAGES.entries())
  for (const [width, isDark] of [[1280, number % 2], [390, 1 - number % 2]]) {
    const frame = document.createElement("iframe");
    frame.width = width;
    frame.height = 900;
    frame.src = `/${page}`;
    const loaded = new Promise(resolve => { frame.onload = resolve; });
    document.body.append(frame);
    await loaded;
    const inside = frame.contentDocument;
    inside.body.setAttribute("data-md-color-scheme", isDark ? "slate" : "default");
    const script = inside.createElement("script");
    script.src = "/axe.min.js";
    const ready = new Promise(resolve => { script.onload = resolve; });
    inside.head.append(script);
    await ready;
    await new Promise(resolve => { setTimeout(resolve, 500); });
    const options = { resultTypes: ["violations"] };
    const { passes, violations } = await frame.contentWindow.axe.run(inside, options);
    const others = frame.contentWindow.performance.getEntriesByType("resource")
      .map(entry => entry.name).filter(name => !name.startsWith(location.origin));
    const isWide = inside.documentElement.scrollWidth > width;
    found.push({ page, width, isDark, passes: passes.length, others, isWide,
      violations: violations.map(v => `${v.id}: ${v.nodes[0].target}`) });
    frame.remove();
  }
await fetch("/found", { method: "POST", body: JSON.stringify(found) });
</script>""".replace("PAGES", json.dumps(PAGES))


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and puts what the page posts into the server's queue."""

    def do_POST(self):
        self.server.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.slow(minutes=2)
def test_axe_finds_nothing(tmp_path):
    chromium, npm = shutil.which("chromium"), shutil.which("npm")
    if not chromium or not npm or not SITE.exists():
        pytest.skip("chromium, npm and site/, which `make docs` builds, are not all there")
    installed = subprocess.run(
        [npm, "install", "--prefix", str(tmp_path), AXE], capture_output=True, text=True
    )
    if installed.returncode:
        pytest.skip(f"npm could not install {AXE}: {installed.stderr[-200:]}")
    root = tmp_path / "root"
    shutil.copytree(SITE, root)
    shutil.copy(tmp_path / "node_modules/axe-core/axe.min.js", root)
    (root / "runner.html").write_text(f"<html lang=en><title>Runner</title><body>{RUNNER}")

    handler = functools.partial(Handler, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.found = queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
            + ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
            + [f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0"]
            + [f"http://127.0.0.1:{server.server_port}/runner.html"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            found = server.found.get(timeout=600)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()

    assert len(found) == 2 * len(PAGES) > 60
    for page in found:
        assert page["passes"] > 10, page
        assert not page["violations"], page
        assert not page["others"], page  # nothing is fetched from elsewhere
        assert not page["isWide"], page
