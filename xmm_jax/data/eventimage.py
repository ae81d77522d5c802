"""Event list to images: all parts of the good time in one pass over the file.

`plan_parts` says which good time, `make_images` counts the events of every part on the detector
grid and fits the sky coordinates, `write_event_image` writes what `observation.read_observation`
reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from xmm_jax.data.binning import Grid, bin_detector, bin_image, detector_grid
from xmm_jax.data.detectormap import RawMoments, dead_pixels, exposure_image, live_pixels
from xmm_jax.data.eligibility import FULL_FRAME_MODES
from xmm_jax.data.eventheader import image_header
from xmm_jax.data.eventparts import ORDERS, TOLERANCE, Part, plan_parts
from xmm_jax.data.events import EventList, event_chunks
from xmm_jax.data.eventwcs import EVENTS, WcsFit, fit_wcs, sky_plane_deg
from xmm_jax.data.fitsfile import write_fits
from xmm_jax.data.gti import inside, length_s
from xmm_jax.data.selection import Selection, describe, select
from xmm_jax.data.thinning import generator
from xmm_jax.data.wcs import DET_UNIT_ARCSEC
from xmm_jax.errors import InputError

__all__ = [
    "ORDERS",
    "TOLERANCE",
    "EventImage",
    "Part",
    "make_images",
    "out_of_time_image",
    "plan_parts",
    "write_event_image",
]

OUT_OF_TIME = {"PrimeFullWindow": 0.063, "PrimeFullWindowExtended": 0.023}
"""Fraction of the events of EPIC-pn registered during readout (XMM-Newton Users' Handbook)."""


@dataclass(frozen=True, eq=False)
class EventImage:
    """One image made of an event list.

    Parameters
    ----------
    part : Part
        Its good time.
    counts : ndarray of int32, shape (y, x)
        Counts per pixel [count].
    exposure : ndarray of float32, shape (y, x)
        Exposure per pixel [s], 0 where dead.
    valid : ndarray of bool, shape (y, x)
        True = use.
    wcs : WcsFit
        Sky coordinates as fitted to its events.
    header : Header
        Ready to be written.
    notes : tuple of str
        What the user should know, one line each.
    """

    part: Part
    counts: np.ndarray
    exposure: np.ndarray
    valid: np.ndarray
    wcs: WcsFit
    header: fits.Header
    notes: tuple[str, ...] = ()

    @property
    def gti(self) -> dict[int, np.ndarray]:
        """Good time of every CCD [s], each (n, 2)."""
        return self.part.gti


def make_images(
    events: EventList,
    parts: Sequence[Part],
    *,
    selection: Selection | None = None,
    bin_size: int = 80,
    vignetted: bool = False,
) -> list[EventImage]:
    """Bin the events of every part, in one pass over the file.

    The order of the rows does not matter, not even for the sky coordinates.

    Parameters
    ----------
    events : EventList
        An EPIC-pn list.
    parts : sequence of Part
        Good times, see `plan_parts`.
    selection : Selection, optional
        Which events; PI 500-2000, PATTERN 0-4 and FLAG 0 by default.
    bin_size : int
        Pixel size [0.05 arcsec].
    vignetted : bool
        Multiply the exposure with the vignetting; images of the networks are not vignetted.

    Returns
    -------
    list of EventImage
        One for each part.

    Raises
    ------
    InputError
        Not an EPIC-pn list, no event passes the selection in any part, or a file that cannot be
        read to its end.
    """
    if events.camera != "pn":
        raise InputError(f"{events.path}: a list of {events.camera}; images are made of EPIC-pn")
    selection = selection or Selection()
    grid = detector_grid(bin_size)
    counts = [np.zeros(grid.shape, np.int32) for _ in parts]
    samples = [_Sample() for _ in parts]
    moments = RawMoments()
    for chunk in _selected(events, selection):
        moments.add(chunk)
        for part, image, sample in zip(parts, counts, samples, strict=True):
            kept = _taken(chunk, in_good_time(chunk, part.gti))
            image += bin_detector(kept, grid)
            sample.add(kept, events)
    if not any(image.any() for image in counts):
        raise InputError(
            f"{events.path}: no event in {describe(selection)} and the good time; "
            "check the selection"
        )
    dead = {ccd: dead_pixels(bad) for ccd, bad in events.bad_pixels.items()}
    if str(events.header.get("SUBMODE", "")).strip() not in FULL_FRAME_MODES:
        dead = {ccd: unread | dead.get(ccd, False) for ccd, unread in moments.unread().items()}
    live = live_pixels(grid, moments.maps(), dead)
    images = []
    for part, image, sample in zip(parts, counts, samples, strict=True):
        fit = sample.fit(events, grid)
        exposure = exposure_image(grid, part.ontime_s, live, vignetted=vignetted)
        header = image_header(events, part, selection, grid, fit)
        notes = (*events.notes, *part.notes, *([fit.note] if fit.note else []))
        images.append(EventImage(part, image, exposure, exposure > 0, fit, header, notes))
    return images


def in_good_time(chunk: Mapping[str, np.ndarray], gti: Mapping[int, np.ndarray]) -> np.ndarray:
    """Whether events fall into the good time of their CCD.

    Parameters
    ----------
    chunk : mapping of str to ndarray
        Event arrays ``time_s`` [s] and ``ccdnr``.
    gti : mapping of int to ndarray (n, 2)
        Good time [s] of every CCD; events of others are not kept.

    Returns
    -------
    ndarray of bool
        True = keep.
    """
    keep = np.zeros(len(chunk["time_s"]), bool)
    for ccd, intervals in gti.items():
        own = np.flatnonzero(chunk["ccdnr"] == ccd)
        keep[own] = inside(intervals, chunk["time_s"][own])
    return keep


def out_of_time_image(
    events: EventList,
    part: Part,
    *,
    selection: Selection | None = None,
    bin_size: int = 80,
    seed: int = 0,
) -> np.ndarray:
    """Estimate the events registered during readout: each moved to a random row of its column.

    For inspection only: the difference of the two images is not Poisson and no network input.
    Energies are not corrected anew for the row.

    Parameters
    ----------
    events : EventList
        An EPIC-pn list in a full-frame mode.
    part : Part
        Good time.
    selection : Selection, optional
        Which events.
    bin_size : int
        Pixel size [0.05 arcsec].
    seed : int
        Seed of the rows.

    Returns
    -------
    ndarray of float32
        Expected counts per pixel [count].

    Raises
    ------
    InputError
        Another mode, or a file that cannot be read.
    """
    mode = str(events.header.get("SUBMODE", "")).strip()
    if mode not in OUT_OF_TIME:
        raise InputError(
            f"{events.path}: the out-of-time fraction of {mode} is unknown; leave --oot_image away"
        )
    selection = selection or Selection()
    grid = detector_grid(bin_size)
    moments = RawMoments()
    for chunk in _selected(events, selection):
        moments.add(chunk)
    step = np.zeros((13, 2))  # DETX, DETY per row of a CCD
    for ccd, linear in moments.maps().items():
        step[ccd] = linear[2]
    draw = generator(seed, events.obs_id, "out of time")
    image = np.zeros(grid.shape)
    for chunk in _selected(events, selection):
        kept = _taken(chunk, in_good_time(chunk, part.gti))
        rows = draw.integers(1, 201, len(kept["rawy"])) - kept["rawy"]
        move = np.rint(step[kept["ccdnr"]] * rows[:, None]).astype(np.int32)
        image += bin_image(kept["detx"] + move[:, 0], kept["dety"] + move[:, 1], grid)
    return (OUT_OF_TIME[mode] * image).astype(np.float32)


def write_event_image(path: str | Path, image: EventImage) -> Path:
    """Write counts, then extensions EXPOSURE [s], MASK (1 = use) and GTInn for every CCD.

    Parameters
    ----------
    path : str or Path
        The file; ``.gz`` compresses.
    image : EventImage
        What to write.

    Returns
    -------
    Path
        `path`; `observation.read_observation` reads it.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    primary = fits.PrimaryHDU(image.counts, header=image.header)
    primary.header["BUNIT"] = "count"
    exposure = fits.ImageHDU(image.exposure, image.header, name="EXPOSURE")
    exposure.header["BUNIT"] = "s"
    mask = fits.ImageHDU(image.valid.astype(np.uint8), image.header, name="MASK")
    tables = [_gti_table(ccd, gti, image.header) for ccd, gti in sorted(image.part.gti.items())]
    return write_fits(path, [primary, exposure, mask, *tables])


def _gti_table(ccd: int, gti: np.ndarray, header: fits.Header) -> fits.BinTableHDU:
    columns = [
        fits.Column(name, "D", unit="s", array=gti[:, k])
        for k, name in enumerate(("START", "STOP"))
    ]
    table = fits.BinTableHDU.from_columns(columns, name=f"GTI{ccd:02d}")
    table.header["CCDID"] = (ccd, "CCD")
    table.header["HDUCLASS"], table.header["HDUCLAS1"] = "OGIP", "GTI"
    table.header["HDUCLAS2"] = "STANDARD"
    table.header["ONTIME"] = (length_s(gti), "[s] sum of the intervals")
    for key in ("TIMESYS", "MJDREF", "TIMEUNIT"):
        if key in header:
            table.header[key] = header[key]
    return table


def _selected(events: EventList, selection: Selection) -> Iterator[dict[str, np.ndarray]]:
    """Events that pass the selection, chunk by chunk."""
    names = ["time_s", "rawx", "rawy", "detx", "dety", "pi_ev", "flag", "pattern", "ccdnr"]
    if events.sky is not None:
        names += ["sky_x", "sky_y"]
    for chunk in event_chunks(events, names):
        good = select(chunk, selection) & (chunk["ccdnr"] >= 1) & (chunk["ccdnr"] <= 12)
        yield _taken(chunk, good)


def _taken(chunk: Mapping[str, np.ndarray], keep: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[keep] for name, values in chunk.items()}


class _Sample:
    """Up to `EVENTS` events of a part, chosen by a hash of the event: the same in any row order."""

    def __init__(self) -> None:
        self.key = np.zeros(0, np.uint64)
        self.det = np.zeros((0, 2))
        self.plane = np.zeros((0, 2))

    def add(self, kept: Mapping[str, np.ndarray], events: EventList) -> None:
        """Take events in and drop those with the largest hashes."""
        if events.sky is None:
            return
        new = _hash(kept["time_s"], kept["detx"], kept["dety"])
        if len(self.key) == EVENTS:
            low = new < self.key[-1]
            kept, new = _taken(kept, low), new[low]
        plane, known = sky_plane_deg(kept["sky_x"], kept["sky_y"], events.sky)
        det = np.stack([kept["detx"], kept["dety"]], axis=1)
        key = np.r_[self.key, new[known]]
        chosen = np.argsort(key, kind="stable")[:EVENTS]
        self.det = np.concatenate([self.det, det[known]])[chosen]
        self.plane = np.concatenate([self.plane, plane[known]])[chosen]
        self.key = key[chosen]

    def fit(self, events: EventList, grid: Grid) -> WcsFit:
        """Sky coordinates of the image."""
        if events.sky is None:
            return WcsFit(None, 0.0, 0, "the list has no sky coordinates X, Y to fit a WCS to")
        pixel = (self.det - np.asarray(grid.first_centre)) / grid.bin_size
        scale = grid.bin_size * DET_UNIT_ARCSEC / 3600
        return fit_wcs(pixel, self.plane, centre=events.sky.centre_deg, scale_deg=scale)


def _hash(time_s: np.ndarray, detx: np.ndarray, dety: np.ndarray) -> np.ndarray:
    """Mix time and position of events into 64 bits (the finaliser of splitmix64)."""
    x, y = (values.astype(np.int64).view(np.uint64) for values in (detx, dety))
    bits = (
        np.ascontiguousarray(time_s).view(np.uint64) ^ (x << np.uint64(40)) ^ (y << np.uint64(20))
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))
