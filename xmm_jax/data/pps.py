"""Which files of an observation are needed: the pn event list and the light curve of its exposure.

Names of pipeline (PPS) products, XMM-Newton Data Files Handbook: ``P``, observation (10 digits),
instrument (2), exposure (flag ``S U X`` and 3 digits), product (6), subset (1), source (3, hex).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from astropy.io import fits

from xmm_jax.data.eligibility import FULL_FRAME_MODES
from xmm_jax.data.events import WINDOW_MODES
from xmm_jax.data.fitsfile import BROKEN, understood, unreadable
from xmm_jax.data.flares import LightCurve, read_light_curve
from xmm_jax.data.quiet import quiet
from xmm_jax.errors import InputError

IMAGING, LIGHT_CURVE = "PIEVLI", "FBKTSR"
"""Products that an image is made of: pn imaging event list, flare background light curve."""

# Anchored, because summary pages such as PP<obsid>EEVLIS000_0.HTM hold the same letters.
_NAME = re.compile(
    r"P(?P<obs_id>\d{10})(?P<instrument>[A-Z0-9]{2})(?P<exposure_id>[SUX]\d{3})"
    r"(?P<kind>[A-Z0-9_]{6})[0-9A-Z][0-9A-F]{3}\.(?P<ending>[A-Z]{3})(\.gz)?"
)


class Product(NamedTuple):
    """A file whose name says that it is a pipeline product.

    Attributes
    ----------
    path : Path
        The file.
    obs_id, instrument, exposure_id, kind, ending : str
        Such as ``0852030101 PN U002 PIEVLI FTZ``.
    """

    path: Path
    obs_id: str
    instrument: str
    exposure_id: str
    kind: str
    ending: str


@dataclass(frozen=True)
class EventFiles:
    """The files of one exposure.

    Attributes
    ----------
    events : Path
        Event list.
    light_curve : Path or None
        Flare background light curve of the same exposure.
    notes : tuple of str
        What was left aside and why, one line each.
    """

    events: Path
    light_curve: Path | None
    notes: tuple[str, ...] = ()


def parse_product(path: str | Path) -> Product | None:
    """Read the name of a pipeline product.

    Parameters
    ----------
    path : str or Path
        A file, which need not exist.

    Returns
    -------
    Product or None
        None for any other name.
    """
    path = Path(path)
    found = _NAME.fullmatch(path.name)
    return Product(path, **found.groupdict()) if found else None


def find_products(folder: Path) -> list[Product]:
    """Pipeline products in a folder and in those one and two below it, by name.

    Two below, because the archive packs them as ``<obsid>/pps/P*.FTZ``.
    """
    visible = "[!.]*/"  # a hidden folder is what a fetch that was killed left behind
    found = [path for depth in range(3) for path in folder.glob(f"{depth * visible}P*")]
    products = [product for path in found if (product := parse_product(path))]
    return sorted(products, key=lambda product: (product.path.name, product.path))


def find_event_files(where: str | Path, *, any_mode: bool = False) -> EventFiles:
    """Choose the pn event list to make images of, and find its light curve.

    Of several pn imaging exposures the one with the longest ONTIME is taken, as in the scripts of
    Sweere et al. 2022. A light curve goes with an event list when observation, instrument *and*
    exposure are the same: each exposure has its own threshold.

    Parameters
    ----------
    where : str or Path
        Folder with the products of one observation (possibly in ``<obsid>/pps`` below it), or an
        event list of any name.
    any_mode : bool
        Also large and small window.

    Returns
    -------
    EventFiles
        What to read.

    Raises
    ------
    InputError
        Nothing there, no pn imaging list, no accepted mode, or several observations.
    """
    where = Path(where)
    if where.is_file():
        return EventFiles(where, _light_curve_beside(where))
    if not where.is_dir():
        raise InputError(f"{where}: no such file or folder; check the name")
    products = find_products(where)
    observations = sorted({product.obs_id for product in products})
    if len(observations) > 1:
        raise InputError(
            f"{where}: products of {len(observations)} observations ({observations[0]}, "
            f"{observations[1]} ...); name the folder of one"
        )
    lists = [product for product in products if product.kind == IMAGING]
    if not lists:
        raise InputError(f"{where}: {_why_none(products)}")
    headers = {product: read_events_header(product.path) for product in lists}
    modes = FULL_FRAME_MODES + WINDOW_MODES if any_mode else FULL_FRAME_MODES
    fit = [product for product in lists if _mode(headers[product]) in modes]
    if not fit:
        seen = ", ".join(sorted({_mode(headers[product]) for product in lists}))
        windowed = {_mode(headers[product]) for product in lists} & {*WINDOW_MODES}
        raise InputError(
            f"{where}: pn was in {seen}, not full frame; "
            + ("pass --any-mode to use it" if windowed else "there is no image to make")
        )
    chosen = max(fit, key=lambda product: _ontime(headers[product]))
    notes = tuple(
        f"{product.path.name}: left aside, {_mode(headers[product])}, "
        f"{_ontime(headers[product]) / 1000:.1f} ks; {chosen.exposure_id} is used"
        for product in lists
        if product != chosen
    )
    return EventFiles(chosen.path, _curve_of(chosen, products), notes)


def read_curve(files: EventFiles) -> LightCurve:
    """Read the light curve of an exposure, which must be there and have a threshold.

    Parameters
    ----------
    files : EventFiles
        From `find_event_files`.

    Returns
    -------
    LightCurve
        With a threshold; `flares.quiet_gti` gives the quiet time.

    Raises
    ------
    InputError
        No light curve, no FLCUTTHR in it, or it cannot be read.
    """
    if files.light_curve is None:
        raise InputError(
            f"{files.events}: no flare light curve (P...FBKTSR....FTZ) of this exposure beside it; "
            "fetch it, or pass --unfiltered to keep all the time"
        )
    curve = read_light_curve(files.light_curve)
    if curve.threshold is None:
        raise InputError(
            f"{curve.path}: no flare threshold (FLCUTTHR); pass --unfiltered to keep all the time"
        )
    return curve


def read_events_header(path: Path) -> fits.Header:
    """Read the header of the extension EVENTS, and nothing else of the file.

    Parameters
    ----------
    path : Path
        Event list, plain or compressed.

    Returns
    -------
    Header
        As stored, without cards that cannot be understood.

    Raises
    ------
    InputError
        Not FITS, cut short before the events, or without EVENTS.
    """
    try:
        # What is wrong further on is for its reader to say.
        with path.open("rb") as file, quiet():
            return understood(fits.getheader(file, "EVENTS"))
    except KeyError:
        raise InputError(
            f"{path}: no extension EVENTS; give an event list, or fetch it again if it is one"
        ) from None
    except BROKEN as error:
        raise unreadable(path, error) from None


def _mode(header: fits.Header) -> str:
    return str(header.get("SUBMODE", "")).strip() or "an unknown mode"


def _ontime(header: fits.Header) -> float:
    """ONTIME [s], 0 where it is missing or no number."""
    value = header.get("ONTIME", 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _curve_of(events: Product, products: Iterable[Product]) -> Path | None:
    """Light curve of the exposure of an event list."""
    same = events._replace(kind=LIGHT_CURVE)[1:5]
    return next((product.path for product in products if product[1:5] == same), None)


def _light_curve_beside(path: Path) -> Path | None:
    """Light curve in the folder of an event list, which may have any name."""
    product = parse_product(path)
    if product is None:
        header = read_events_header(path)
        camera = {"EPN": "PN", "EMOS1": "M1", "EMOS2": "M2"}.get(str(header.get("INSTRUME")), "")
        stated = (str(header.get(key, "")).strip() for key in ("OBS_ID", "EXPIDSTR"))
        obs_id, exposure_id = stated
        product = Product(path, obs_id, camera, exposure_id, IMAGING, "")
    beside = (parse_product(other) for other in sorted(path.parent.glob(f"P*{LIGHT_CURVE}*")))
    return _curve_of(product, [other for other in beside if other])


def _why_none(products: Iterable[Product]) -> str:
    """Say why a folder gives no pn imaging event list."""
    kinds = {(product.instrument, product.kind) for product in products}
    if ("PN", "TIEVLI") in kinds:
        return "pn was in timing or burst mode (TIEVLI), which has no image; use another exposure"
    if any(kind == "MIEVLI" for _, kind in kinds):
        return "event lists of MOS only; the networks are for EPIC-pn (P...PN...PIEVLI....FTZ)"
    if kinds:
        return "pipeline products, but no pn event list (P...PN...PIEVLI....FTZ); fetch it"
    return "no pipeline products (P...PN...PIEVLI....FTZ); name that folder or the event list"
