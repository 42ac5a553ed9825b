"""The pages in a real browser: nothing fails, nothing is fetched, tables sort, surfaces turn."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import errors, needs_browser, opened, requested, until

from nnunet_ext.cli.main import main
from nnunet_ext.evaluation.benchmark.places import Places

pytestmark = needs_browser

PHONE = 390
PLOTS = "[...document.querySelectorAll('figure.plot:not(.turns)')].filter(f => !f.closest('details'))"


@pytest.fixture(scope="module")
def report(benchmark_home: tuple[Path, Places], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder, places = benchmark_home
    file = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed"):
            patch.setenv(f"nnUNet_{name}", str(folder / name))
        assert main(["benchmark", "report", str(places.root), "--html", str(file), "--no-pbar"]) == 0
    return file


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Any]:
    with opened(report) as driver:
        yield driver


def test_every_plot_is_drawn_without_an_error_and_without_a_network(browser: Any) -> None:
    plots = "document.querySelectorAll('figure.plot:not(.turns)')"
    browser.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = !d.querySelector('.turns'))"
    )
    browser.execute_script(f"{plots}.forEach(f => draw(f))")
    until(browser, f"return [...{plots}].every(f => f.querySelector('svg.main-svg, canvas'))")
    assert browser.execute_script(f"return {plots}.length") == 6
    assert errors(browser) == []
    assert requested(browser) == []


def test_a_table_sorts_both_ways_with_gaps_at_the_end(browser: Any) -> None:
    sort = """
      const table = [...document.querySelectorAll('table.sortable')].find(
        t => t.tHead.textContent.includes('SD of patients'));
      const column = [...table.tHead.rows[0].cells].findIndex(c => c.textContent === arguments[0]);
      table.tHead.rows[0].cells[column].querySelector('button').click();
      return [...table.tBodies[0].rows].map(r => r.cells[column].textContent);
    """
    rising = [float(cell) for cell in browser.execute_script(sort, "liver")]
    falling = [float(cell) for cell in browser.execute_script(sort, "liver")]
    assert rising == sorted(rising)
    assert falling == sorted(rising, reverse=True)
    names = browser.execute_script(sort, "trainer")
    assert names == sorted(names)
    gaps = """
      const table = [...document.querySelectorAll('table.sortable')].find(
        t => t.tHead.textContent.includes('seconds per epoch'));
      const body = table.tBodies[0];
      body.rows[0].cells[1].textContent = '-';
      const header = table.tHead.rows[0].cells[1].querySelector('button');
      const last = () => body.rows[body.rows.length - 1].cells[1].textContent;
      return [0, 1].map(() => { header.click(); return last(); });
    """
    assert browser.execute_script(gaps) == ["-", "-"]


def test_what_is_folded_is_there_once_it_is_opened(report: Path) -> None:
    with opened(report) as driver:
        count = "return document.querySelectorAll('table').length"
        before = driver.execute_script(count)
        driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        until(driver, "return !document.querySelector('details[open] > template')")
        assert driver.execute_script(count) > before + 5
        assert errors(driver) == []


def test_surfaces_turn_and_only_one_of_them_is_alive(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    shown = "[...document.querySelectorAll('details')].filter(d => d.querySelector('.turns'))"
    camera = "return JSON.stringify(arguments[0].querySelector('.drawing')._fullLayout.scene.camera.eye)"
    for place in (0, 1):
        details = browser.execute_script(f"return {shown}[{place}]")
        browser.execute_script("arguments[0].open = true; arguments[0].scrollIntoView()", details)
        until(browser, f"const d = {shown}[{place}]; return d.querySelector('.still[src^=\"data:image\"]')")
        before = browser.execute_script(camera, details)
        canvas = details.find_element("css selector", "canvas")
        ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(
            80, 30
        ).release().perform()
        until(browser, f"const d = {shown}[{place}]; {camera.replace('arguments[0]', 'd')} !== '{before}'")
    assert browser.execute_script(f"return {shown}.filter(d => d.querySelector('canvas')).length") == 1
    assert browser.execute_script(f"return {shown}.map(d => d.open).filter(Boolean).length") == 1
    assert errors(browser) == []


def test_the_surface_has_the_colors_of_right_and_wrong(browser: Any) -> None:
    """Pixels of the picture that is kept for print, which is what was drawn."""
    pixels = """
      const image = document.querySelector('.still[src^="data:image"]');
      const canvas = document.createElement('canvas');
      canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
      const context = canvas.getContext('2d', { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
      let blue = 0;
      for (let i = 0; i < data.length; i += 4) blue += data[i + 2] > data[i] + 40 && data[i + 3] > 200;
      return blue;
    """
    assert browser.execute_script(pixels) > 500


def test_in_print_surfaces_are_stills_and_what_is_folded_is_left_out(report: Path) -> None:
    with opened(report) as driver:
        folded = "[...document.querySelectorAll('details')].filter(d => d.querySelector('.turns'))[0]"
        driver.execute_script(f"{folded}.open = true; {folded}.scrollIntoView()")
        until(driver, f"return {folded}.querySelector('.still[src^=\"data:image\"]')")
        shown = f"""
          const seen = (each) => each !== null && each.getBoundingClientRect().height > 0;
          const d = {folded};
          const closed = document.querySelector('details:not([open])');
          return [d.querySelector('.drawing'), d.querySelector('.still'), document.querySelector('nav'),
                  closed].map(seen);
        """
        assert driver.execute_script(shown) == [True, False, True, True]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert driver.execute_script(shown) == [False, True, False, False]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
        assert pdf.startswith(b"%PDF")
        assert errors(driver) == []


def test_on_paper_no_plot_is_wider_than_the_page(report: Path) -> None:
    widest = f"Math.max(...{PLOTS}.map(f => f.querySelector('svg.main-svg').getBoundingClientRect().width))"
    with opened(report, width=1280) as driver:
        driver.execute_script(f"{PLOTS}.forEach(f => draw(f))")
        until(driver, f"return {PLOTS}.every(f => f.querySelector('svg.main-svg'))")
        assert driver.execute_script(f"return {widest}") > 900
        driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
        until(driver, f"return {widest} <= 680")
        driver.execute_script("window.dispatchEvent(new Event('afterprint'))")
        until(driver, f"return {widest} > 900")
        assert errors(driver) == []


def test_no_legend_lies_over_a_title(report: Path) -> None:
    overlaps = f"""
      return {PLOTS}.flatMap(f => {{
        const legend = f.querySelector('.legend');
        if (!legend) return [];
        const a = legend.getBoundingClientRect();
        return [...f.querySelectorAll('.g-xtitle, .g-ytitle, .xtick, .ytick, .plot')].filter(each => {{
          const b = each.getBoundingClientRect();
          return b.width && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        }}).map(each => each.textContent);
      }})
    """
    for width in (1280, PHONE):
        with opened(report, width=width) as driver:
            driver.execute_script(f"{PLOTS}.forEach(f => draw(f))")
            until(driver, f"return {PLOTS}.every(f => f.querySelector('svg.main-svg'))")
            assert driver.execute_script(overlaps) == [], width


def test_a_phone_shows_it_without_scrolling_sideways(report: Path) -> None:
    with opened(report) as driver:
        # Not the window's size: what a page overflows by, a window of a phone's width grows by.
        phone = {"width": PHONE, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        driver.execute_script("document.querySelector('h1').textContent = 'nnUNetTrainerRASUNet'.repeat(5)")
        driver.execute_script(f"{PLOTS}.forEach(f => draw(f))")
        until(driver, f"return {PLOTS}.every(f => f.querySelector('svg.main-svg'))")
        assert driver.execute_script("return window.innerWidth") == PHONE
        assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE
        # Panels that stand side by side need room: each plot is moved sideways by itself.
        narrowest = (
            f"Math.min(...{PLOTS}.map(f => f.querySelector('.main-svg').getBoundingClientRect().width))"
        )
        assert driver.execute_script(f"return {narrowest}") >= 640
        assert errors(driver) == []
