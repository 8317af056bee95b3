"""What the browser tests hold in their hands: a running JupyterLab, a notebook on a page, an explorer in it."""

from __future__ import annotations

import ast
import html
import json
import re
import symtable
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import numpy as np
from jupyter_client import BlockingKernelClient
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, Route, WebSocketRoute

from course_lib.viz.explorers.base import Explorer

SAME, OTHER = 1e-3, 5e-3  # shares of pixels: at most that for the same picture, at least that for another one
PATIENCE = 120.0  # seconds; a busy CI machine is slow, and nothing that works waits for it

Value = TypeVar("Value")


def until(what: str, look: Callable[[], Value | bool | None], patience: float = PATIENCE) -> Value:
    """Look again and again until there is something to see; return it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        seen = look()
        if seen:
            return seen  # type: ignore[return-value]
        time.sleep(0.1)  # the machine may have two cores only, and the kernel wants both
    raise AssertionError(f"waited {patience:.0f} s in vain for: {what}")


class Told:
    """What a person may want to know after the run: where the screenshots are, how fast the explorers answer."""

    screenshots: Path | None = None
    log: Path | None = None
    open_notebooks: ClassVar[list[Notebook]] = []
    milliseconds: ClassVar[dict[str, list[float]]] = {}


@dataclass
class Lab:
    """A running JupyterLab: the address that course.py printed, and the folder that it serves."""

    address: str
    my: Path
    runtime: Path

    @property
    def origin(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def token(self) -> str:
        return urlsplit(self.address).query.removeprefix("token=")

    def page_of(self, path: str) -> str:
        return f"{self.origin}/lab/tree/{path}?reset&token={self.token}"

    def session(self, path: str) -> dict[str, Any] | None:
        """Return what the server knows of an open notebook's kernel."""
        request = urllib.request.Request(
            f"{self.origin}/api/sessions", headers={"Authorization": f"token {self.token}"}
        )
        no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with no_proxy.open(request, timeout=PATIENCE) as answer:
            return next((one for one in json.load(answer) if one["path"] == path), None)


@dataclass
class Guard:
    """What a page should never do: ask another server for something, or complain in the console."""

    origin: str
    strangers: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        # data: and blob: addresses hold their content and ask nobody; no other scheme is let through.
        host = re.escape(self.origin.partition("://")[2])
        page.context.route(re.compile(rf"^(?!http://{host}/|data:|blob:)"), self._block)
        page.context.route_web_socket(re.compile(rf"^(?!ws://{host}/)"), self._block_socket)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))

    def _block(self, route: Route) -> None:
        self.strangers.append(route.request.url)
        route.abort()

    def _block_socket(self, socket: WebSocketRoute) -> None:
        self.strangers.append(socket.url)
        socket.close()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


@dataclass
class Notebook:
    """A notebook that is open in the browser, with its kernel."""

    lab: Lab
    page: Page
    guard: Guard
    path: str

    def open(self) -> None:
        self.page.goto(self.lab.page_of(self.path))
        self.page.locator(".jp-NotebookPanel .jp-Notebook .jp-Cell").first.wait_for(timeout=1000 * PATIENCE)
        until(f"a kernel for {self.path}", self._is_ready)

    def _is_ready(self) -> bool:
        session = self.lab.session(self.path)
        kernel = session["kernel"] if session else {}
        return kernel.get("connections", 0) >= 1 and kernel["execution_state"] == "idle"

    def choose(self, menu: str, entry: str) -> None:
        """Click an entry of JupyterLab's menu bar."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
        self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{re.escape(entry)}$")).click()

    def clear(self) -> None:
        """Clear the stored outputs from the menu: so whatever stands there afterwards is new."""
        self.choose("Edit", "Clear Outputs of All Cells")
        until("the outputs to go", lambda: self.page.locator(".jp-OutputArea-output").count() == 0)

    def run_all(self) -> None:
        """Run every cell from the menu and wait for the last one."""
        self.clear()
        self.choose("Run", "Run All Cells")
        until("every cell to have run", self._all_have_run, 3 * PATIENCE)

    def run(self, cell: Locator) -> None:
        """Click into a cell, press Shift + Enter, and wait until it has run."""
        prompt = cell.locator(".jp-InputArea-prompt")
        before = prompt.inner_text()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        until("the cell to run", lambda: re.search(r"\[\d+\]", now := prompt.inner_text()) and now != before)

    def _all_have_run(self) -> bool:
        prompts = self.page.locator(".jp-CodeCell .jp-InputArea-prompt").all_inner_texts()
        errors = self.error_texts()
        assert not errors, "a cell failed:\n" + "\n".join(errors)
        return all(re.search(r"\[\d+\]", prompt) for prompt in prompts) and self._is_ready()

    def error_texts(self) -> list[str]:
        """Return what stands in the error outputs of the page."""
        kind = "application/vnd.jupyter.error"
        # JupyterLab marks an error's text by its type, and what goes to stderr by another.
        return self.page.locator(
            f".jp-OutputArea-output[data-mime-type='{kind}'], .jp-RenderedText[data-mime-type='{kind}'], "
            ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']"
        ).all_inner_texts()

    @property
    def printed(self) -> list[str]:
        """Return what the cells have printed, cell by cell."""
        kind = "application/vnd.jupyter.stdout"
        return self.page.locator(f".jp-RenderedText[data-mime-type='{kind}']").all_inner_texts()

    @property
    def sources(self) -> list[str]:
        """Return the source of each cell of the file."""
        stored = json.loads((self.lab.my / self.path).read_text("utf-8"))
        return ["".join(cell["source"]) for cell in stored["cells"]]

    def cell(self, is_it: Callable[[str], bool]) -> Locator:
        """Find the one cell whose source is such."""
        places = [place for place, source in enumerate(self.sources) if is_it(source)]
        assert len(places) == 1, f"{self.path} has {len(places)} such cells, at {places}"
        return self.page.locator(".jp-Notebook .jp-Cell").nth(places[0])

    def arguments(self, kind: str) -> str:
        """Return what the notebook gives to an explorer without naming it."""
        return ", ".join(ast.unparse(argument) for argument in self._call(kind).args)

    def options(self, kind: str) -> str:
        """Return what the notebook gives to an explorer by name."""
        return ", ".join(f"{each.arg}={ast.unparse(each.value)}" for each in self._call(kind).keywords)

    def run_for(self, kind: str) -> None:
        """Run what an explorer stands on and no more: the cells that define what it is made of."""
        self.clear()
        sources = self.sources
        (last,) = [at for at, source in enumerate(sources) if re.search(rf"^\w+ = {kind}\(", source, re.M)]
        cells = self.page.locator(".jp-Notebook .jp-Cell")
        is_code = [cells.nth(at).evaluate("it => it.matches('.jp-CodeCell')") for at in range(last)]
        needed, wanted = [last], names_in(sources[last])[1]
        for at in reversed(range(last)):
            if is_code[at]:
                made, used = names_in(sources[at])
                if made & wanted:
                    needed.insert(0, at)
                    wanted = (wanted - made) | used
        for at in needed:
            self.run(cells.nth(at))
        assert not self.error_texts(), "a cell failed:\n" + "\n".join(self.error_texts())

    def _call(self, kind: str) -> ast.Call:
        """Find the one place where the notebook makes an explorer; the cells that make it may repeat it."""
        made = [source for source in self.sources if re.search(rf"^\w+ = {kind}\(", source, re.M)]
        calls = [
            node
            for source in dict.fromkeys(made)
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind
        ]
        (call,) = calls
        return call

    def explorer(self, kind: str) -> OnPage:
        """Build an explorer afresh and show it: run the cell that makes it and the one that names it."""
        (name,) = {
            name for source in self.sources for name in re.findall(rf"^(\w+) = {kind}\(", source, re.M)
        }
        shown = self.cell(lambda source: source.strip() == name)
        self.run(self.cell(lambda source: f"{name} = {kind}(" in source))
        self.run(shown)
        return OnPage(kind, self, shown)

    def ask_kernel(self, expression: str) -> str:
        """Return the repr of an expression in the notebook's kernel, as a console beside it would show it."""
        session = self.lab.session(self.path)
        assert session is not None
        client = BlockingKernelClient()
        client.load_connection_file(str(self.lab.runtime / f"kernel-{session['kernel']['id']}.json"))
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            client.execute("", silent=True, user_expressions={"asked": expression})
            answer = client.get_shell_msg(timeout=PATIENCE)["content"]["user_expressions"]["asked"]
        finally:
            client.stop_channels()
        assert answer["status"] == "ok", answer
        return str(answer["data"]["text/plain"])

    def screenshot(self, name: str, at: Locator | None = None) -> None:
        """Write a picture of the window, with a place of the notebook at its top."""
        assert Told.screenshots is not None
        if at is not None:
            at.evaluate("it => it.scrollIntoView({block: 'start'})")
        self.page.screenshot(path=Told.screenshots / f"{name}.png")


@dataclass
class OnPage:
    """An explorer on the page: what a learner without a mouse can do with it, and what they see and read."""

    kind: str
    notebook: Notebook
    cell: Locator

    def __post_init__(self) -> None:
        self.page = self.notebook.page
        self.picture = self.cell.locator("img.widget-image")
        self.picture.wait_for(timeout=1000 * PATIENCE)
        self.cell.scroll_into_view_if_needed()

    @property
    def words(self) -> str:
        """The sentence below the picture."""
        return self.cell.get_by_role("status").inner_text()

    @property
    def pixels(self) -> np.ndarray:
        return pixels(bytes(self.picture.evaluate(_BYTES_OF_AN_IMAGE)))

    def focus(self, label: str) -> None:
        """Go to the control with this label, wherever it is; from there on `tab_to` walks as a learner does."""
        named = self.page.locator("label", has_text=re.compile(f"^\u200b?{re.escape(label)}$"))
        control = self.cell.locator(".jupyter-widgets:not(.widget-box)").filter(has=named)
        control.locator(".noUi-handle, select, input").first.focus()
        assert self.focused == label

    def choose(self, option: str) -> None:
        """Choose among named options: press the button of that name, or walk there in a drop-down list."""
        first = "select:visible, button:visible, input:visible, .noUi-handle:visible"
        self.cell.locator(".jupyter-widgets").locator(first).first.focus()
        if self.cell.get_by_role("button", name=option, exact=True).count():
            if self.focused != option:
                self.tab_to(option)
            self.press("Space")
            return
        offers = self.cell.locator("select", has=self.page.get_by_role("option", name=option, exact=True))
        offers.focus()
        names = [name.replace("\u00a0", " ") for name in offers.locator("option").all_inner_texts()]
        steps = names.index(option) - int(offers.evaluate("it => it.selectedIndex"))
        for _ in range(abs(steps)):
            self.press("ArrowDown" if steps > 0 else "ArrowUp")

    def tab_to(self, label: str) -> None:
        """Press Tab until the control with this label, or the button with this text, has the keyboard."""
        passed = []
        while len(passed) < 100:
            self.page.keyboard.press("Tab")
            if self.focused == label:
                return
            passed.append(self.focused)
        raise AssertionError(f"Tab never comes to {label!r}; it passes {passed}")

    @property
    def focused(self) -> str:
        """Which control of the explorer has the keyboard: its label, or the text on it; "" where none has."""
        return str(self.cell.evaluate(_LABEL_OF_THE_FOCUS))

    def press(self, key: str) -> None:
        """Press a key and wait for the new picture; note how long it took."""
        before, focused = self.picture.get_attribute("src"), self.focused
        assert focused, "no control of the explorer has the keyboard"
        self.picture.evaluate(_START_THE_WATCH)
        self.page.keyboard.press(key)
        try:
            until("a new picture", lambda: self.picture.get_attribute("src") != before, 20)
        except AssertionError:
            now = self.focused or "outside the explorer"
            raise AssertionError(
                f"{key} on {focused!r} brought no new picture; the keyboard is now at: {now}"
            ) from None
        assert self.focused == focused, f"after {key} the keyboard is no longer at {focused!r}"
        Told.milliseconds.setdefault(self.kind, []).append(self.picture.evaluate("image => image.courseMs"))

    def press_for_words(self, key: str) -> None:
        """Press a key that changes the sentence and perhaps nothing else."""
        before = self.words
        self.page.keyboard.press(key)
        until("other words", lambda: self.words != before, 20)

    def type(self, text: str) -> None:
        """Type over what stands in the text field that has the keyboard, without Enter."""
        assert self.cell.evaluate("() => document.activeElement.matches('input[type=text]')")
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def screenshot(self, name: str) -> None:
        self.notebook.screenshot(name, at=self.cell)

    def assert_shows(self, twin: Explorer) -> None:
        """The page shows what the same explorer, set here to the same values, shows: words and picture."""
        said = html.unescape(re.sub(r"<[^>]+>", "", twin.summary.value))
        assert self.words == said
        assert far_apart(self.pixels, pixels(bytes(twin.image.value))) < SAME

    def assert_nothing_is_cut_off_or_overlaps(self) -> None:
        assert self.picture.bounding_box()["width"] == self.pixels.shape[1], "the picture is shrunk"
        labels = self.cell.locator(".jupyter-widgets label, .jupyter-widgets button, .widget-readout")
        for label in visible(labels):
            assert label.evaluate("it => it.scrollWidth <= it.clientWidth + 1"), label.inner_text()
        within = ":is(.widget-hbox, .widget-vbox, .widget-gridbox)"
        controls = self.cell.locator(f"{within} > .jupyter-widgets:not(.widget-box, .widget-gridbox)")
        boxes = [control.bounding_box() for control in visible(controls)]
        boxes.append(self.picture.bounding_box())
        assert len(boxes) >= 3
        page = self.cell.locator(".jp-OutputArea").first.bounding_box()
        for place, one in enumerate(boxes):
            assert page["x"] <= one["x"] and one["x"] + one["width"] <= page["x"] + page["width"]
            for other in boxes[place + 1 :]:
                beside = (
                    one["x"] + one["width"] <= other["x"] + 0.5
                    or other["x"] + other["width"] <= one["x"] + 0.5
                )
                below = (
                    one["y"] + one["height"] <= other["y"] + 0.5
                    or other["y"] + other["height"] <= one["y"] + 0.5
                )
                assert beside or below, f"{one} overlaps {other}"


_BYTES_OF_AN_IMAGE = """
async image => Array.from(new Uint8Array(await (await fetch(image.src)).arrayBuffer()))
"""
# Measured inside the page, so that the test's own way to the browser does not count.
_START_THE_WATCH = """
image => {
  let pressed = 0;
  addEventListener('keydown', () => { pressed = performance.now(); }, {capture: true, once: true});
  new MutationObserver((_, watch) => { image.courseMs = performance.now() - pressed; watch.disconnect(); })
    .observe(image, {attributes: true, attributeFilter: ['src']});
}
"""
_LABEL_OF_THE_FOCUS = """
cell => {
  const here = document.activeElement;
  if (!cell.contains(here) || here.matches('.widget-readout')) return '';
  if (here.tagName === 'BUTTON') return here.innerText.trim();
  const around = here.closest('label') ?? here.closest('.jupyter-widgets')?.querySelector('label');
  return (around && around.innerText.trim()) || here.title;
}
"""


def visible(found: Locator) -> list[Locator]:
    return [one for one in found.all() if one.is_visible() and one.inner_text().strip("\u200b ")]


def names_in(source: str) -> tuple[set[str], set[str]]:
    """Return the names that a cell makes, and those that it needs from cells before it."""
    made: set[str] = set()
    needed: set[str] = set()
    for statement in ast.parse(source).body:
        scopes = [symtable.symtable(ast.unparse(statement), "a statement", "exec")]
        assigned = {
            each.get_name()
            for each in scopes[0].get_symbols()
            if each.is_assigned() or each.is_imported() or each.is_namespace()
        }
        if isinstance(statement, ast.For | ast.With):  # its own names are made before its body uses them
            made |= assigned
        while scopes:
            scope = scopes.pop()
            of_cell = [
                each for each in scope.get_symbols() if scope.get_type() == "module" or each.is_global()
            ]
            needed |= {each.get_name() for each in of_cell if each.is_referenced()} - made
            scopes += scope.get_children()
        made |= assigned
    return made, needed


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"), dtype=float)


def far_apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of the pixels that differ visibly; 1 where the sizes differ."""
    if one.shape != other.shape:
        return 1.0
    return float((np.abs(one - other).max(-1) > 32).mean())
