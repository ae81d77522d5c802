"""A faithful synthetic PPS set: event lists of EPIC-pn and what lies beside them in such a folder.

No event list of EPIC-pn is small enough to keep in a repository, so the tests make one. Cards are
those of real products (pn images that SAS made from PPS lists of 2001-2021, the flare light curve
of 0124710801), columns those of the XMM-Newton Data Files Handbook, geometry measured on real pn
images: chips of 64 x 200 pixels of 82.5 units of 0.05 arcsec, +DETX at PA_PNT + 0.25 deg.

The truth is independent of the package: what a photon is was decided before it was written down,
and every time (start, gap, bin of the light curve) is a multiple of half a second, so that good
time can be counted cell by cell.

Not like the real thing: the tables EXPOSUnn hold one frame in 256 (a real one of 40 ks has 545,000
rows a CCD), and sources of the simulated field ride with the detector, not with the sky, when the
pointing drifts; those given to `make_pps` do stay on the sky.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.recfunctions import drop_fields
from pps_files import (
    BAD,
    EVENT,
    LEGAL,
    MODES,
    NULL,
    event_list,
    light_curve,
    write_pieces,
)

UNIT_DEG = 0.05 / 3600  # step of DETX, DETY, X and Y
GRID_EDGE, GRID_SHAPE, GRID_STEP = (-18283.5, -17527.5), (411, 403), 80
AIM = (-1050.0, 1480.0)  # DETX, DETY of RA_PNT, DEC_PNT
ROLL_DEG = 0.25
PIXEL, PITCH, LEFT = 82.5, 5393.7, -18245.0 - 82.5  # of the chips; the left edge of RAWX 1 or 64
ROW_199 = (-1000.0, -1215.0)  # inner edge of RAWY 199: upper half, lower half
UPPER, LOWER = (3, 2, 1, 4, 5, 6), (12, 11, 10, 7, 8, 9)  # CCDs from low to high DETX
FOV = (-2200.0, -1110.0, 17980.0)  # centre and radius of the field of view
CELL_S = 0.5
ON_BAD_PIXEL, NEAR_HOT, NEAR_DEAD, AT_BORDER, OUTSIDE = 0x200000, 0x40, 0x100, 0x2, 0x10000


@dataclass(frozen=True)
class Pointing:
    """Where the telescope points: tangent plane (xi east, eta north) about `ra`, `dec` [deg]."""

    ra: float = 210.8
    dec: float = 54.35
    pa: float = 118.4

    @property
    def matrix(self):
        """From (DETX, DETY) about the aim to (xi, eta) [deg]; its determinant is positive."""
        angle = np.deg2rad(self.pa + ROLL_DEG)
        sin, cos = np.sin(angle), np.cos(angle)
        return UNIT_DEG * np.array([[sin, -cos], [cos, sin]])

    def plane_of_det(self, det):
        return (np.asarray(det) - AIM) @ self.matrix.T

    def det_of_plane(self, plane):
        return np.asarray(plane) @ np.linalg.inv(self.matrix).T + AIM

    def plane_of_sky(self, ra, dec):
        """Gnomonic projection (Calabretta & Greisen 2002, section 5.1.3)."""
        turn, ra, dec, pole = np.deg2rad([ra - self.ra, ra, dec, self.dec])
        depth = np.sin(dec) * np.sin(pole) + np.cos(dec) * np.cos(pole) * np.cos(turn)
        north = np.sin(dec) * np.cos(pole) - np.cos(dec) * np.sin(pole) * np.cos(turn)
        return np.rad2deg(np.array([np.cos(dec) * np.sin(turn), north]) / depth)

    def sky_of_plane(self, plane):
        xi, eta = np.deg2rad(plane)
        pole = np.deg2rad(self.dec)
        depth = np.cos(pole) - eta * np.sin(pole)
        dec = np.arctan2(np.sin(pole) + eta * np.cos(pole), np.hypot(xi, depth))
        return self.ra + np.rad2deg(np.arctan2(xi, depth)), np.rad2deg(dec)

    def sky_of_det(self, det):
        """RA, Dec [deg] of a place on the detector when the drift is at zero."""
        return self.sky_of_plane(self.plane_of_det(det))


@dataclass(frozen=True, eq=False)
class Exposure:
    """One exposure and the truth about it.

    ``rows`` are the events as written; ``stdgti`` and ``quiet`` are (n, 2) [s]; ``good_time(ccd)``
    tells which cells of `CELL_S` since ``start`` are good; ``bad`` are bad pixels by CCD.
    """

    name: str
    camera: str
    start: float
    stop: float
    submode: str
    pointing: Pointing
    stdgti: dict[int, np.ndarray]
    quiet: np.ndarray
    bad: dict[int, np.ndarray]
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, EVENT))
    events: Path | None = None
    light_curve: Path | None = None

    def drift(self, time):
        """Offset (xi, eta) [deg] of the pointing: half an arcsec either way, in the middle none."""
        share = (np.asarray(time, float) - self.start) / (self.stop - self.start) - 0.5
        return share[..., None] * np.array([0.8, -0.6]) / 3600

    def det_of_sky(self, ra, dec, time):
        """DETX, DETY of a place on the sky at a time [s]."""
        plane = self.pointing.plane_of_sky(ra, dec)
        return self.pointing.det_of_plane(plane - self.drift(time))

    def good_time(self, ccd, *, quiet=True):
        """Good cells of a CCD: bool, one for each half second since the start."""
        good = self._cells(self.stdgti[ccd])
        return good & self._cells(self.quiet) if quiet else good

    def good(self, *, quiet=True):
        """Events of an image of 0.5-2 keV: FLAG 0, PATTERN 0-4, in the good time of their CCD."""
        rows = self.rows
        cell = np.floor((rows["TIME"] - self.start) / CELL_S).astype(int)
        table = np.array([self.good_time(n, quiet=quiet) for n in range(1, 13)])
        in_time = table[rows["CCDNR"].astype(int) - 1, np.clip(cell, 0, table.shape[1] - 1)]
        in_band = (rows["PI"] >= 500) & (rows["PI"] <= 2000)
        return in_time & in_band & (rows["FLAG"] == 0) & (rows["PATTERN"] <= 4)

    def _cells(self, gti):
        good = np.zeros(round((self.stop - self.start) / CELL_S), bool)
        for first, last in np.round((gti - self.start) / CELL_S).astype(int):
            good[max(first, 0) : max(last, 0)] = True
        return good


@dataclass(frozen=True, eq=False)
class Pps:
    """A PPS folder: ``exposures`` by name, ``longest`` the one that an image should be made of."""

    folder: Path
    obs_id: str
    pointing: Pointing
    sources: tuple[tuple[float, float, int], ...]
    exposures: dict[str, Exposure]
    longest: Exposure


# --- the sky and the detector ------------------------------------------------------------------


def chip_of(det):
    """CCD (0 where there is none), RAWX, RAWY of DETX, DETY [..., 2]."""
    detx, dety = np.moveaxis(np.asarray(det, float), -1, 0)
    column = np.floor((detx - LEFT) / PITCH).astype(int)
    across = np.floor((detx - LEFT - PITCH * column) / PIXEL).astype(int)
    upper = dety > sum(ROW_199) / 2
    along = np.where(upper, dety - ROW_199[0], ROW_199[1] - dety)
    rawx, rawy = np.where(upper, 64 - across, 1 + across), 199 - np.floor(along / PIXEL).astype(int)
    there = (column >= 0) & (column < 6) & (across < 64) & (rawy >= 1) & (rawy <= 200)
    index = np.clip(column, 0, 5)
    ccd = np.where(upper, np.take(UPPER, index), np.take(LOWER, index))
    return np.where(there, ccd, 0), rawx, rawy


def det_of_chip(ccd, rawx, rawy):
    """DETX, DETY [..., 2] of the centre of a pixel of a chip."""
    upper = np.isin(ccd, UPPER)
    column = np.array([(UPPER + LOWER).index(n) % 6 for n in range(1, 13)])[np.asarray(ccd) - 1]
    across = np.where(upper, 64 - rawx, rawx - 1)
    detx = LEFT + PITCH * column + PIXEL * (across + 0.5)
    along = PIXEL * (199.5 - rawy)
    return np.stack([detx, np.where(upper, ROW_199[0] + along, ROW_199[1] - along)], -1)


def simulated_rate(seed: int) -> np.ndarray:
    """Expected rate [count/s/pixel] of 400 sources and a cluster, by the package's simulator.

    A whole drawn sky would do as well, but compiling it takes a minute.
    """
    import jax

    from xmm_jax.instrument.camera import PN
    from xmm_jax.simulator.observe import build_optics, detect, expected_background
    from xmm_jax.simulator.observe import expected_sources as sources_rate
    from xmm_jax.simulator.presets import find_preset

    rng, preset = np.random.default_rng(seed), find_preset("physical")
    optics = build_optics("physical", upscale=1)
    x, y = rng.uniform(0, 403, 400), rng.uniform(0, 411, 400)
    points = x, y, np.sort(1e-4 * rng.pareto(1.5, 400))[::-1]
    row, column = np.ogrid[: optics.sky_vignetting.shape[0], : optics.sky_vignetting.shape[1]]
    cluster = (1 + np.hypot(row - 600, column - 300) ** 2 / 20**2) ** -1.5

    @jax.jit
    def expected(key, extended, points):
        rate = sources_rate(extended, points, optics.counts, PN, preset, 1)
        rate += expected_background(key, optics.counts, preset, 1)
        return detect(rate, optics.counts, PN, preset)

    extended = np.float32(0.3 * cluster / cluster.sum())
    points = tuple(map(np.float32, points))
    return np.asarray(expected(jax.random.key(seed), extended, points), float)


def flat_rate(total: float) -> np.ndarray:
    """A flat field of `total` [count/s] over the field of view."""
    x, y = (
        edge + GRID_STEP * (np.arange(n) + 0.5)
        for edge, n in zip(GRID_EDGE, GRID_SHAPE[::-1], strict=True)
    )
    inside = np.hypot(x[None] - FOV[0], y[:, None] - FOV[1]) < FOV[2]
    return total * inside / inside.sum()


def _places(rng, weight, count):
    """DETX, DETY of `count` events drawn from a frame."""
    share = np.cumsum(weight, dtype=float)
    pixel = np.searchsorted(share, rng.random(count) * share[-1], side="right")
    row, column = np.divmod(pixel, GRID_SHAPE[1])
    return GRID_EDGE + GRID_STEP * (np.stack([column, row], -1) + rng.random((count, 2)))


def _psf(rng, count):
    """Offsets [deg] of a King profile of 6.3 arcsec and slope 1.63, cut at one arcmin."""
    core, slope, cut = 6.3, 1.63, 60.0
    inside = 1 - (1 + (cut / core) ** 2) ** (1 - slope)
    radius = core * np.sqrt((1 - inside * rng.random(count)) ** (1 / (1 - slope)) - 1)
    angle = 2 * np.pi * rng.random(count)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1) / 3600


def _bad_pixels(rng, keep_out):
    """Bad pixels of each CCD, some of them columns; none within 12 pixels of `keep_out`."""
    tables = {}
    for ccd in range(1, 13):
        table = np.zeros(12, BAD)
        table["RAWX"], table["RAWY"] = rng.integers(1, 65, 12), rng.integers(13, 200, 12)
        table["TYPE"] = np.resize([1, 2, 3], 12)
        table["YEXTENT"] = np.where(np.arange(12) < 3, 200 - table["RAWY"], 1)
        table["BADFLAG"] = np.where(table["TYPE"] == 3, 2, 1)
        near = np.zeros(12, bool)
        for other, rawx, rawy in keep_out:
            end = table["RAWY"] + table["YEXTENT"]
            beside = np.abs(table["RAWX"] - rawx) < 12
            near |= beside & (other == ccd) & (rawy > table["RAWY"] - 12) & (rawy < end + 12)
        tables[ccd] = table[~near]
    return tables


def _flags(exposure, ccd, rawx, rawy, det):
    """FLAG of events by where they fell."""
    flag = np.where(np.hypot(det[:, 0] - FOV[0], det[:, 1] - FOV[1]) > FOV[2], OUTSIDE, 0)
    edge = (rawx == 1) | (rawx == 64) | (rawy == 200) | (rawy <= 13)
    flag |= np.where(edge, AT_BORDER, 0)
    table = np.zeros((13, 67, 203), np.int32)
    for number, bad in exposure.bad.items():
        for x, y, kind, extent, _ in bad.tolist():
            near = NEAR_DEAD if kind == 3 else NEAR_HOT
            table[number, x - 1 : x + 2, y - 1 : y + extent + 1] |= near
            table[number, x, y : y + extent] |= ON_BAD_PIXEL
    return flag | table[ccd, rawx, rawy]


def _register(rng, exposure, det, time):
    """Rows of the events that hit a chip in its good time, of science quality so far."""
    ccd, rawx, rawy = chip_of(det)
    here = (ccd > 0) & (rawy > 4)
    ccd, rawx, rawy, time = ccd[here], rawx[here], rawy[here], time[here]
    det = np.rint(det_of_chip(ccd, rawx, rawy) + rng.uniform(-41, 41, (len(ccd), 2)))
    plane = exposure.pointing.plane_of_det(det) + exposure.drift(time)
    sky = 25921 + plane / (UNIT_DEG * np.array([-1, 1])) + rng.normal(0, 2, plane.shape)
    rows = np.zeros(len(ccd), EVENT)
    rows["TIME"], rows["CCDNR"], rows["RAWX"], rows["RAWY"] = time, ccd, rawx, rawy
    rows["DETX"], rows["DETY"] = det.T
    rows["X"], rows["Y"] = np.rint(sky).T
    rows["FLAG"] = _flags(exposure, ccd, rawx, rawy, det)
    # A spectrum with as many photons per octave at 0.5-1 as at 1-2 keV.
    rows["PI"] = np.clip(500 * 4 ** rng.random(len(ccd)), 500, 2000)
    rows["PATTERN"] = rng.choice(5, len(ccd), p=[0.7, 0.09, 0.07, 0.08, 0.06])
    low, high = np.transpose(LEGAL)
    legal = ((det >= low) & (det <= high)).all(1)
    cell = np.floor((time - exposure.start) / CELL_S).astype(int)
    alive = np.array([exposure.good_time(n, quiet=False) for n in range(1, 13)])[ccd - 1, cell]
    # A few events outside of the good time of their CCD stay in.
    return rows[legal & (alive | (rng.random(len(ccd)) < 0.02))]


def _spoil(rng, rows):
    """Make rows what an image must not hold: other energies, patterns and flags; keep some good."""
    n = len(rows)
    rows["PI"] = np.where(
        rng.random(n) < 0.1,
        rng.choice([499, 500, 2000, 2001], n),
        151 + rng.gamma(1.2, 2000, n).clip(0, 15000),
    )
    rows["PATTERN"] = np.where(rng.random(n) < 0.5, rng.integers(0, 13, n), rows["PATTERN"])
    rows["PATTERN"] = np.where(rng.random(n) < 0.02, rng.integers(128, 256, n), rows["PATTERN"])
    bits = np.array([0, 0, 0, 0x1, 0x10, 0x800, 0x10000, 0x200000, 0x80000, -(2**31)], np.int64)
    rows["FLAG"] |= rng.choice(bits, n).astype(np.int32)
    rows["PI"][rng.random(n) < 0.002] = -200
    return rows


def draw_rows(rng, exposure, rate, sources=(), *, window=None, flare_rate=15.0) -> np.ndarray:
    """Events of an exposure in order of frames (inside a frame in no order).

    Parameters
    ----------
    rng : Generator
        Randomness.
    exposure : Exposure
        Times, pointing and bad pixels.
    rate : ndarray, (411, 403)
        Expected rate of good events [count/s/pixel].
    sources : sequence of (ra, dec, count)
        Photons that stay where they are on the sky; the count is that of the whole exposure.
    window : (float, float), optional
        Draw only this stretch of time [s].
    flare_rate : float
        Events per second over the field outside of the quiet time.

    Returns
    -------
    ndarray of EVENT
        The rows.
    """
    start, stop = window or (exposure.start, exposure.stop)

    def times(count):
        return rng.uniform(start, stop, count)

    parts = []
    for weight, kind in ((rate, ""), (0.4 * rate + flat_rate(0.2 * rate.sum()), "other")):
        count = rng.poisson(weight.sum() * (stop - start))
        rows = _register(rng, exposure, _places(rng, weight, count), times(count))
        parts.append(_spoil(rng, rows) if kind else rows)
    time = times(rng.poisson(flare_rate * (stop - start)))
    noisy = ~exposure._cells(exposure.quiet)[((time - exposure.start) / CELL_S).astype(int)]
    time = time[noisy]
    parts.append(_register(rng, exposure, _places(rng, flat_rate(1), len(time)), time))
    for ra, dec, count in sources:
        time = times(round(count * (stop - start) / (exposure.stop - exposure.start)))
        offset = _psf(rng, len(time)) @ np.linalg.inv(exposure.pointing.matrix).T
        parts.append(_register(rng, exposure, exposure.det_of_sky(ra, dec, time) + offset, time))
    rows = rng.permutation(np.concatenate(parts))
    frame_s = MODES[exposure.submode][2]
    rows = rows[np.argsort(np.floor((rows["TIME"] - exposure.start) / frame_s), kind="stable")]
    rows["PHA"] = np.clip(rows["PI"] // 5, 0, 4095)
    rows["PAT_ID"], rows["PAT_SEQ"] = np.arange(len(rows)) % 30000, 1
    lost = rng.choice(len(rows), min(5, len(rows) // 100), replace=False)
    rows["X"][lost] = rows["Y"][lost] = NULL
    return rows


# --- the set -----------------------------------------------------------------------------------

# Good time of the CCDs of a quadrant, as shares of the exposure: each misses another piece.
QUADRANTS = {
    (1, 2, 3): [(0, 1)],
    (4, 5, 6): [(0, 0.3), (0.32, 1)],
    (7, 8, 9): [(0, 0.55), (0.58, 0.8), (0.81, 1)],
    (10, 11, 12): [(0.05, 1)],
}
GAP, FLARES = (0.7, 3), ((0.2, 1), (0.4, 0.07), (0.62, 1), (0.64, 1))


def quiet_time(start: float, stop: float, *, flare: bool) -> np.ndarray:
    """Good intervals of the light curve (n, 2) [s]: where `curve_rows` is below the threshold."""
    count = int((stop - start - 2.5) // 10)
    blocks = [(int(at * count), n if n >= 1 else int(n * count)) for at, n in (*FLARES, GAP)]
    blocks = blocks if flare else blocks[-1:]
    edges = [0, *(edge for first, n in blocks for edge in (first, first + n)), count]
    return start + 2.5 + 10.0 * np.reshape(edges, (-1, 2))


def make_exposure(
    name: str,
    start: float,
    length: float,
    *,
    rng,
    pointing: Pointing,
    submode: str = "PrimeFullWindow",
    camera: str = "EPN",
    flare: bool = True,
    sources: Sequence = (),
) -> Exposure:
    """An exposure without its events."""
    stop = start + np.floor(length / CELL_S) * CELL_S
    stdgti = {
        n: start + np.round(np.array(shares, float) * (stop - start) / CELL_S) * CELL_S
        for numbers, shares in QUADRANTS.items()
        for n in numbers
    }
    det = [pointing.det_of_plane(pointing.plane_of_sky(ra, dec)) for ra, dec, _ in sources]
    bad = _bad_pixels(rng, [chip_of(one) for one in det])
    quiet = quiet_time(start, stop, flare=flare)
    return Exposure(name, camera, start, stop, submode, pointing, stdgti, quiet, bad)


def make_pps(
    folder: Path,
    *,
    seed: int = 0,
    sources: Sequence[tuple[float, float, int]] = (),
    exposure_s: float = 30_000.0,
    rate: np.ndarray | float = 1.5,
    flare: bool = True,
    obs_id: str = "0000000001",
    pointing: Pointing = Pointing(),
    submode: str = "PrimeFullWindow",
    light_curves: bool = True,
    threshold: bool = True,
    short_s: float = 6000.0,
    decoys: bool = True,
) -> Pps:
    """Write a PPS folder: a short and a long exposure of EPIC-pn and what else such folders hold.

    Parameters
    ----------
    folder : Path
        Folder for the products; made when missing.
    seed : int
        Of everything random.
    sources : sequence of (ra_deg, dec_deg, count)
        Point sources; the count is what the long exposure gets in its whole length, gaps and
        flares included. Choose places with `Pointing.sky_of_det`.
    exposure_s : float
        Length of the long exposure [s], gaps and flares included; about 93 % of it is good time.
    rate : ndarray (411, 403) or float
        Good events of the field: a frame [count/s/pixel] or a flat total [count/s].
    flare, threshold, light_curves : bool
        The long light curve has flares (else its threshold is just above its maximum); the light
        curves have FLCUTTHR; there are light curves.
    obs_id, pointing, submode
        Of both exposures.
    short_s : float
        Length of the short exposure [s]; 0 leaves it out.
    decoys : bool
        Add lists of MOS1 and of the timing mode with light curves, and a page whose name
        holds "EVLI".

    Returns
    -------
    Pps
        Folder and truth.
    """
    rng = np.random.default_rng([seed, int(obs_id)])
    frame = flat_rate(rate) if np.isscalar(rate) else np.asarray(rate)
    start = 514100164.0 + 1e5 * (int(obs_id) % 1000)
    made = {}
    for name, begin, length in (("S003", start, short_s), ("U002", start + 2e4, exposure_s)):
        if not length:
            continue
        share = length / exposure_s
        flares = flare and name == "U002"
        options = {"submode": submode, "flare": flares, "sources": sources}
        exposure = make_exposure(name, begin, length, rng=rng, pointing=pointing, **options)
        scaled = [(ra, dec, round(count * share)) for ra, dec, count in sources]
        rows = draw_rows(rng, exposure, frame, scaled)
        stem = f"P{obs_id}PN{name}"
        pieces = event_list(exposure, obs_id, [rows], len(rows))
        files = {"rows": rows, "events": write_pieces(folder / f"{stem}PIEVLI0000.FTZ", pieces)}
        if light_curves:
            pieces = light_curve(rng, exposure, obs_id, flare=flares, threshold=threshold)
            files["light_curve"] = write_pieces(folder / f"{stem}FBKTSR0000.FTZ", pieces)
        made[name] = replace(exposure, **files)
    if decoys:
        _write_decoys(rng, folder, obs_id, pointing, exposure_s)
    return Pps(folder, obs_id, pointing, tuple(sources), made, made["U002"])


def _write_decoys(rng, folder, obs_id, pointing, exposure_s):
    """Lists that last longer than those of EPIC-pn, and a page with a name like theirs."""
    start = 514100164.0 + 1e5 * (int(obs_id) % 1000)
    for name, camera, submode, product, missing in (
        ("S001", "EMOS1", "PrimeFullWindow", "M1S001MIEVLI", "PAT_ID PAT_SEQ"),
        ("U014", "EPN", "FastTiming", "PNU014TIEVLI", "DETX DETY X Y"),
    ):
        exposure = make_exposure(
            name, start, 2 * exposure_s, rng=rng, pointing=pointing, submode=submode, camera=camera
        )
        rows = draw_rows(rng, exposure, flat_rate(0.01), flare_rate=0.05)
        rows = drop_fields(rows, missing.split(), usemask=False)
        pieces = event_list(exposure, obs_id, [rows], len(rows))
        write_pieces(folder / f"P{obs_id}{product}0000.FTZ", pieces)
        curve = light_curve(rng, exposure, obs_id, flare=True, threshold=True)
        write_pieces(folder / f"P{obs_id}{product[:6]}FBKTSR0000.FTZ", curve)
    (folder / f"PP{obs_id}EEVLIS000_0.HTM").write_text("<html>EPIC event lists</html>")


def write_large_list(path: Path, rows: int, *, seed: int = 0, chunk: int = 1_000_000) -> Path:
    """Write an event list of EPIC-pn with exactly so many rows, a piece at a time.

    Parameters
    ----------
    path : Path
        The file; ``.FTZ`` and ``.gz`` are compressed.
    rows : int
        Number of events; they fill 100 ks.
    seed : int
        Of everything random.
    chunk : int
        Rows held in memory.

    Returns
    -------
    Path
        `path`.
    """
    rng = np.random.default_rng(seed)
    exposure = make_exposure("S003", 514100164.0, 1e5, rng=rng, pointing=Pointing())
    # 1.6 events are drawn for each of the rate, and some fall beside the chips.
    frame = flat_rate(rows / 1e5)

    def pieces() -> Iterator[np.ndarray]:
        edges = np.linspace(exposure.start, exposure.stop, -(-rows // chunk) + 1)
        left = rows
        for number, window in enumerate(pairwise(edges), 1):
            wanted = left - (len(edges) - 1 - number) * (rows // (len(edges) - 1))
            drawn = draw_rows(rng, exposure, frame, window=window)
            assert len(drawn) >= wanted
            chosen = np.sort(rng.choice(len(drawn), wanted, replace=False))
            left -= wanted
            yield drawn[chosen]

    return write_pieces(path, event_list(exposure, "0000000001", pieces(), rows))
