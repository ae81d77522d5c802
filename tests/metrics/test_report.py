"""The page of an evaluation: what is in it, and that it works in a browser."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra evaluate")

from PIL import Image

from xmm_jax.errors import InputError
from xmm_jax.metrics.report import (
    RANGE,
    Column,
    Page,
    Row,
    Shown,
    draw_strip,
    draw_svg,
    encode_rate,
    encode_residual,
    plot_curves,
    write_report,
)


def _decode(url):
    content = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)))[::-1].astype(float)


def test_rates_survive_the_coding():
    rate = np.geomspace(1e-5, 1e-1, 600).reshape(20, 30)
    codes = _decode(encode_rate(rate, 1e-1))
    back = 1e-1 * np.expm1(codes / 255 * np.log1p(RANGE)) / RANGE
    step = np.log1p(RANGE) / 255  # relative, of bright rates
    np.testing.assert_allclose(back, rate, rtol=0.51 * step, atol=0.51 * step * 1e-1 / RANGE)


def test_residuals_survive_the_coding():
    sigma = np.linspace(-9, 9, 600).reshape(20, 30)
    back = (_decode(encode_residual(sigma)) - 128) / 16
    np.testing.assert_allclose(back, np.clip(sigma, -8, 127 / 16), atol=1 / 32 + 1e-9)


def _page():
    rng = np.random.default_rng(3)
    shown = []
    for number in range(2):
        truth = 1e-5 + 1e-3 * np.exp(-np.hypot(*np.mgrid[-20:20, -25:25]) / (4 + number))
        noisy = rng.poisson(truth * 2e4) / 2e4
        images = {"input": noisy, "smooth": truth * 1.1, "truth": truth}
        residuals = {"smooth": (noisy - truth) / np.sqrt(truth / 2e4)}
        strip = draw_strip(images, row=20, pixel_arcsec=4.0)
        shown.append(
            Shown(f"field {number}", f"f{number}", images, residuals, strip, "input", "truth")
        )
    columns = [Column("PSNR", "PSNR [dB]", "high", 2), Column("L1", "L1", "low", 4)]
    rows = [
        Row("input", {"PSNR": (30.0, 0.1), "L1": (0.02, 0.001)}, contends=False),
        Row("smooth", {"PSNR": (33.0, 0.1), "L1": (0.01, None)}),
        Row("net </script>", {"PSNR": (32.95, 0.1), "L1": (float("nan"), None)}, ours=True),
    ]
    figure = draw_svg(lambda axes: plot_curves(axes, {"smooth": ([1, 2], [3, 4], [0.1, 0.1])}))
    tables = dict.fromkeys(("summary", "paper", "fields"), (columns, rows))
    return Page(
        title="test", verdict="smooth wins", limit="", paper_note="", facts=[("set", "abc")],
        shown=shown, frame=(50, 40), figures=[("Curves", "two points", figure)], how=["Read."],
        **tables,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(path, _page()) == path.stat().st_size
    return path


def test_the_page_needs_nothing_else(report):
    text = report.read_text()
    for address in re.findall(r"https?://[^\s\"'<)]+", text):
        assert re.match(
            r"http://(www\.w3\.org|purl\.org|creativecommons\.org|matplotlib)", address
        ) or (
            address.startswith("https://matplotlib.org")  # names inside SVG, never fetched
        )
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?https?:", text)
    assert text.count("</script>") == 2  # the one in a name is escaped


def test_the_numbers_are_in_it(report):
    text = report.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["summary"]["rows"][1]["values"]["PSNR"] == [33.0, 0.1]
    assert data["summary"]["rows"][2]["values"]["L1"] == [None, None]


def test_equal_evaluations_give_equal_pages(report, tmp_path):
    write_report(tmp_path / "again.html", _page())
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "missing" / "report.html", _page())


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
                 "disable-background-networking", "disable-component-update", "disable-sync",
                 "window-size=1200,1000"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    with webdriver.Chrome(options=options, service=service) as session:
        yield session


def _view(browser):
    return json.loads(browser.execute_script("return document.body.dataset.view"))


def _pixel(browser, share_x, share_y):
    """Colour of the main canvas at shares of its width and height."""
    return browser.execute_script(
        "const c = document.getElementById('view');"
        "return Array.from(c.getContext('2d').getImageData(Math.floor(arguments[0] * c.width),"
        "Math.floor(arguments[1] * c.height), 1, 1).data)",
        share_x, share_y,
    )  # fmt: skip


@pytest.fixture
def opened(browser, report):
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(report.as_uri())
    ready = "return document.body.dataset.ready"
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(ready) == "yes")
    yield browser
    severe = [row["message"] for row in browser.get_log("browser") if row["level"] == "SEVERE"]
    assert not severe


def _set(browser, name, value, event="change"):
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event(arguments[2]))", name, str(value), event,
    )  # fmt: skip


def test_slider_in_a_browser(opened):
    _set(opened, "split", 1000, "input")
    left = _pixel(opened, 0.42, 0.4)
    _set(opened, "split", 0, "input")
    right = _pixel(opened, 0.42, 0.4)
    assert left[3] == right[3] == 255
    assert left != right  # noisy and true rate beside the peak
    assert _view(opened)["split"] == 0


def test_blink_in_a_browser(opened):
    from selenium.webdriver.support.ui import WebDriverWait

    _set(opened, "mode", "blink")
    for wanted in (1, 0, 1):
        WebDriverWait(opened, 3, poll_frequency=0.05).until(
            lambda b, w=wanted: _view(b)["blink"] == w
        )


def test_zoom_by_keys_and_wheel_in_a_browser(opened):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.common.by import By

    canvas = opened.find_element(By.ID, "view")
    canvas.send_keys("+", "+")
    assert _view(opened)["zoom"] == pytest.approx(2.25)
    canvas.send_keys("\ue014")  # arrow right
    assert _view(opened)["x"] > 0.5
    canvas.send_keys("0")
    assert _view(opened)["zoom"] == 1
    ActionChains(opened).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -400).perform()
    assert _view(opened)["zoom"] > 2


def test_linked_pair_and_fields_in_a_browser(opened):
    _set(opened, "mode", "pair")
    assert opened.execute_script("return document.getElementById('second').hidden") is False
    _set(opened, "field", 1)
    assert opened.execute_async_script(
        "const done = arguments[0];"
        "const look = () => JSON.parse(document.body.dataset.view).field === 'f1' ? done(true)"
        " : setTimeout(look, 50); look()"
    )


def test_tables_in_a_browser(opened):
    from selenium.webdriver.common.by import By

    best = opened.find_elements(By.CSS_SELECTOR, "#summary td.best")
    # 33.0 and 32.95 +- 0.1 are equally good; the only known L1 of the two that contend is no rank.
    assert [cell.text.split()[0] for cell in best] == ["33.00", "32.95"]
    opened.find_elements(By.CSS_SELECTOR, "#summary th button")[0].click()
    names = [row.text for row in opened.find_elements(By.CSS_SELECTOR, "#summary td:first-child")]
    assert names == ["smooth", "net </script>", "input"]


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window(opened, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    wide = opened.execute_script("return document.documentElement.scrollWidth")
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width
