"""The guard of these tests is awake: it sees what the lessons must never do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.real_lab import Guard, Lab, until


@pytest.fixture
def guarded(lab: Lab, browser: Browser) -> Iterator[tuple[Page, Guard]]:
    context = browser.new_context()
    page, guard = context.new_page(), Guard(lab.origin)
    guard.watch(page)
    page.goto(f"{lab.origin}/login")  # any small page of the server
    assert guard.strangers == []
    yield page, guard
    context.close()


ASKS = {
    "picture": "document.body.append(Object.assign(new Image(), {src: 'http://example.org/picture.png'}))",
    "style": "document.body.style.background = 'url(https://example.org/background.png)'",
    "fetch": "fetch('https://example.org/fetched').catch(() => {})",
    "socket": "void new WebSocket('wss://example.org/socket')",
    "port": "fetch(location.origin.replace(/\\d+$/, '8') + '/another-port').catch(() => {})",
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
def test_what_a_page_asks_of_another_server_is_blocked_and_noted(
    guarded: tuple[Page, Guard], ask: str
) -> None:
    page, guard = guarded
    page.evaluate(f"() => {{ {ask} }}")
    until("the guard's note", lambda: guard.strangers or (page.wait_for_timeout(20) or False), 10)
    assert len(guard.strangers) == 1


def test_what_a_page_holds_itself_is_no_request(guarded: tuple[Page, Guard]) -> None:
    page, guard = guarded
    page.evaluate("() => fetch('data:text/plain,here').then(answer => answer.text())")
    page.evaluate("() => fetch(URL.createObjectURL(new Blob(['here']))).then(answer => answer.text())")
    assert guard.strangers == []


def test_errors_of_a_page_are_noted(guarded: tuple[Page, Guard]) -> None:
    page, guard = guarded
    page.evaluate("() => { console.error('told'); setTimeout(() => { throw new Error('thrown'); }); }")
    until("both errors", lambda: len(guard.errors) == 2 or (page.wait_for_timeout(20) or False), 10)
    assert "told" in guard.errors[0] and "thrown" in guard.errors[1]
