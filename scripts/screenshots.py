"""Pictures of the live pages for the docs: `python scripts/screenshots.py --workspace W` writes docs/images/governance-*.png.

Needs Chromium (`make browser`), the development extra, and a workspace with a version.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from expedition.plan import load_programme
from expedition.watch.web import Address, site
from expedition.workspace import Workspace, layout

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
MOST_BYTES = 150_000
COLOURS = 256


def overview(page: Page) -> bytes:
    return page.screenshot()


def figures(page: Page) -> bytes:
    page.locator("#figure-languages").scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, document.getElementById('figure-languages').offsetTop - 12)")
    page.wait_for_timeout(300)
    return page.screenshot()


def funnel(page: Page) -> bytes:
    page.evaluate("window.scrollTo(0, document.getElementById('figure-funnel').offsetTop - 12)")
    page.wait_for_timeout(300)
    return page.screenshot()


def record(page: Page) -> bytes:
    funnel(page)
    page.locator("#figure-reasons .q-field--outlined").click()
    page.get_by_role("option", name="dedup", exact=True).click()
    page.locator("#figure-reasons .open").first.click()
    page.locator(".records-card .open").first.click()
    page.wait_for_function("document.getElementById('record-text').textContent.length > 0")
    page.wait_for_timeout(400)
    return page.screenshot()


SHOTS: dict[str, tuple[int, int, Any, Callable[[Page], bytes]]] = {
    # name: width, height, colour scheme, what to do
    "overview": (1280, 860, "light", overview),
    "figures": (1280, 980, "dark", figures),
    "funnel": (1280, 900, "light", funnel),
    "record": (1280, 860, "light", record),
    "phone": (390, 844, "light", overview),
}


def small(png: bytes) -> bytes:
    """The picture, with a palette where it would be too large without."""
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    for picture in (whole, whole.quantize(COLOURS)):
        out = io.BytesIO()
        picture.save(out, "PNG", optimize=True)
        if out.tell() <= MOST_BYTES:
            break
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", default="voyage")
    ws = Workspace.open(parser.parse_args().workspace)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium here: make browser")
    IMAGES.mkdir(parents=True, exist_ok=True)
    programme = load_programme(ws.store.local(layout.PROGRAMME))
    with site(ws, programme, Address(port=0)) as url, sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name, (width, height, scheme, act) in SHOTS.items():
            page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(url)
            page.wait_for_selector("#figure-funnel svg text")
            page.wait_for_timeout(800)
            picture = small(act(page))
            if len(picture) > MOST_BYTES:
                raise SystemExit(f"governance-{name}.png has {len(picture)} bytes, more than {MOST_BYTES}")
            (IMAGES / f"governance-{name}.png").write_bytes(picture)
            print(f"docs/images/governance-{name}.png {len(picture)} bytes")
            page.close()
        chromium.close()


if __name__ == "__main__":
    main()
