"""How the files of `pps.make_pps` are put together: cards, tables, light curve, compression.

Written byte by byte (astropy only formats the headers), so that a list of 2e7 events needs no
memory and nothing but the cards decides what is in a file.
"""

import gzip
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time

LEGAL = ((-18283, 13914), (-17527, 15312))  # TLMIN, TLMAX of DETX and DETY
NULL = -99999999
SIGNALLING_NAN = 0x7FA00000
THRESHOLD = 20.5  # [count/s] of light curves with flares; exact in single precision
MODES = {  # frame time rounded as in FRMTIME [ms], integration time [s], frame time [s]
    "PrimeFullWindow": (73, 6.87021985650063e-02, 0.073365),
    "PrimeFullWindowExtended": (199, 0.194531321525574, 0.199194),
    "PrimeLargeWindow": (48, 0.0476, 0.04766),
    "PrimeSmallWindow": (6, 0.00567, 0.00567),
    "FastTiming": (6, 0.00596, 0.00596),
}
# In memory tables have the byte order of the machine; `_table` writes them big-endian.
EVENT = np.dtype("f8,i2,i2,i2,i2,i4,i4,i2,i2,i4,u1,i2,u1,u1")
EVENT.names = tuple(
    "TIME RAWX RAWY DETX DETY X Y PHA PI FLAG PATTERN PAT_ID PAT_SEQ CCDNR".split()  # noqa: SIM905
)
GTI = np.dtype([("START", "f8"), ("STOP", "f8")])
BAD = np.dtype([(name, "i2") for name in ("RAWX", "RAWY", "TYPE", "YEXTENT", "BADFLAG")])
RATE = np.dtype([("TIME", "f8"), ("RATE", "f4"), ("ERROR", "f4"), ("FRACEXP", "f4")])
FORMS = {"f8": "D", "f4": "E", "i4": "J", "i2": "I", "u1": "B"}
UNITS = dict.fromkeys(("TIME", "START", "STOP", "T_ELAPSED"), "s")
UNITS |= dict.fromkeys(("RAWX", "RAWY", "DETX", "DETY", "X", "Y"), "pixel")
UNITS |= {"PHA": "CHAN", "PI": "CHAN", "RATE": "count/s", "ERROR": "count/s"}


def _text(header: fits.Header) -> bytes:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Card is too long")  # the comment is cut
        return header.tostring().encode("ascii")


def _padding(size: int) -> bytes:
    return bytes(-size % 2880)


def primary(cards) -> bytes:
    """An empty primary HDU."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    header.extend(fits.Header(cards), update=True)
    return _text(header)


def table_header(name: str, dtype: np.dtype, count: int, cards: Iterable = ()) -> bytes:
    """Header of a binary table of so many rows."""
    header = fits.Header()
    structure = {"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": dtype.itemsize}
    structure |= {"NAXIS2": count, "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": len(dtype)}
    header.update(structure)
    for i, column in enumerate(dtype.names, 1):
        header[f"TTYPE{i}"], header[f"TFORM{i}"] = column, FORMS[dtype[column].str[1:]]
        if column in UNITS:
            header[f"TUNIT{i}"] = UNITS[column]
    header["EXTNAME"] = name
    header.extend(fits.Header(cards), update=True)
    return _text(header)


def _big_endian(rows: np.ndarray) -> bytes:
    return rows.astype(rows.dtype.newbyteorder(">")).tobytes()


def table(name: str, rows: np.ndarray, cards: Iterable = ()) -> bytes:
    """A binary table."""
    data = _big_endian(rows)
    return table_header(name, rows.dtype, len(rows), cards) + data + _padding(len(data))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> Path:
    """Write a file piece by piece; names that end in .FTZ or .gz are compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = path.suffix in (".FTZ", ".gz")
    with gzip.open(path, "wb", 1) if packed else path.open("wb") as out:
        for piece in pieces:
            out.write(piece)
    return path


def common_cards(exposure, obs_id: str, content: str) -> list:
    """Cards that every extension of a product repeats, as in real files."""
    pointing, start = exposure.pointing, exposure.start
    ra, dec = map(float, pointing.sky_of_det((60.0, -250.0)))
    begin, end = (
        # Copied from the ODF: some seconds away from TSTART.
        Time(50814 + (time + 5.3) / 86400, format="mjd", scale="tt").utc.isot[:19]
        for time in (start, exposure.stop)
    )
    frame_ms = MODES[exposure.submode][0] if exposure.camera == "EPN" else 2600
    return [
        ("CREATOR", "tests/pps.py, not the SAS", "name of code"),
        ("FILTER", "Medium", "Filter ID"),
        ("FRMTIME", frame_ms, "[ms] Frame Time, nearest integer"),
        ("TELESCOP", "XMM", "Telescope (mission) name"),
        ("INSTRUME", exposure.camera, "Instrument name"),
        ("OBS_MODE", "POINTING", "Observation mode (pointing or slew)"),
        ("OBS_ID", obs_id, "Observation identifier"),
        ("EXP_ID", obs_id + exposure.name[1:], "Exposure identifier"),
        ("EXPIDSTR", exposure.name, "Exposure identifier (Xnnn)"),
        ("DATAMODE", "TIMING" if "Fast" in exposure.submode else "IMAGING", "Instrument mode"),
        ("SUBMODE", exposure.submode, "Guest Observer mode"),
        ("OBJECT", "synthetic", "Name of observed object"),
        ("OBSERVER", "Dr Nobody", "Name of PI"),
        ("DATE-OBS", begin, "Start Time (UTC) of exposure"),
        ("DATE-END", end, "End Time (UTC) of exposure"),
        ("TSTART", start, "[s] Start time of first frame"),
        ("TSTOP", exposure.stop, "[s] End time of last frame"),
        ("TELAPSE", exposure.stop - start, "[s] Full time interval for the exposure"),
        ("TIMESYS", "TT", "XMM time will be TT (Terrestial Time)"),
        ("MJDREF", 50814.0, "[d] 1998-01-01T00:00:00 (TT) expressed in MJD"),
        ("TIMEZERO", 0, "Clock correction (if not zero)"),
        ("TIMEUNIT", "s", "All times in s unless specified otherwise"),
        ("CLOCKAPP", True, "Clock correction applied"),
        ("TIMEREF", "LOCAL", "Reference location of photon arrival times"),
        ("TASSIGN", "SATELLITE", "Location of time assignment"),
        ("RA_OBJ", ra, "[deg] Ra of the observed object"),
        ("DEC_OBJ", dec, "[deg] Dec of the observed object"),
        ("RA_NOM", ra, "[deg] Ra of boresight"),
        ("DEC_NOM", dec, "[deg] Dec of boresight"),
        ("LONGSTRN", "OGIP 1.0"),
        ("EQUINOX", 2000.0, "Equinox for sky coordinate x/y axes"),
        ("RADECSYS", "FK5", "World coord. system for this file"),
        *_reference_cards("X", "RA---TAN", pointing.ra, -1.38888888888889e-05),
        *_reference_cards("Y", "DEC--TAN", pointing.dec, 1.38888888888889e-05),
        ("AVRG_PNT", "MEDIAN", "Meaning of PNT values (mean or median)"),
        ("RA_PNT", pointing.ra, "[deg] Actual (mean) pointing RA of the optical axis"),
        ("DEC_PNT", pointing.dec, "[deg] Actual (mean) pointing Dec of the optical axis"),
        ("PA_PNT", pointing.pa, "[deg] Actual (mean) measured position angle"),
        ("REVOLUT", "2629", "Satellite Revolution Number"),
        ("PPSVERS", "17.56_20190403_1200", "PPS configuration"),
        ("SASVERS", "xmmsas_20190401_1820-18.0.0", "SAS version used in processing"),
        ("ODFVER", "001", "ODF_VERSION"),
        ("CONTENT", content, "Contents of file"),
    ]


def _reference_cards(axis, kind, value, step):
    cards = {"CTYP": kind, "CRPX": 25921, "CRVL": value, "CDLT": step, "LMIN": 1, "LMAX": 51840}
    cards |= {"DMIN": 7563, "DMAX": 45428, "CUNI": "deg"}
    return [(f"REF{axis}{key}", cell) for key, cell in cards.items()]


def _axis_cards(i, pixel, kind, value, step):
    cards = {"TCRPX": pixel, "TCTYP": kind, "TCRVL": value, "TCDLT": step, "TCUNI": "deg"}
    return [(f"{key}{i}", cell) for key, cell in cards.items()]


def event_cards(exposure, common: list, names: Iterable[str]) -> list:
    """Cards of the extension EVENTS with columns of these names."""
    times = {n: float(np.diff(gti).sum()) for n, gti in exposure.stdgti.items()}
    _, live_s, frame_s = MODES[exposure.submode]
    expression = "(FLAG & 0xcfa0000) == 0 && abs(PI) > 150 && gti(product/made.FIT:STDGTI01,TIME)"
    cards = [
        *common,
        ("TIMEDEL", live_s, "[s] Length of exposure entry interval"),
        ("DET_SYST", 2, "System for camera coordinates"),
        ("XMMEA_0", "(FLAG & 0x1) != 0", "INVALID_PATTERN"),
        ("XMMEA_16", "(FLAG & 0x10000) != 0", "OUT_OF_FOV"),
        ("XMMEA_EP", "(FLAG & 0xcfa0000) == 0", "Select good PN events"),
        ("SLCTEXPR", expression, "Filtering expression used by evselect"),
        ("ONTIME", times[4], "Sum of GTIs for central CCD"),
        ("LIVETIME", times[4] * live_s / frame_s, "Live time for the central CCD"),
    ]
    for n, ontime in times.items():
        cards.append((f"ONTIME{n:02d}", ontime, "Sum of GTIs for a particular CCD"))
        cards.append((f"LIVETI{n:02d}", ontime * live_s / frame_s, "Live time for a CCD"))
    cards += [("DSTYP1", "CCDNR"), ("DSTYP2", "TIME"), ("DSUNI2", "s"), ("DSVAL2", "TABLE")]
    for i, n in enumerate(times, 1):
        lead = str(i) if i > 1 else ""
        cards += [(f"{lead}DSVAL1", str(n)), (f"{lead}DSREF2", f":STDGTI{n:02d}")]
    legal = {"RAWX": (1, 64), "RAWY": (1, 200), "DETX": LEGAL[0], "DETY": LEGAL[1]}
    legal |= {"X": (1, 51840), "Y": (1, 51840), "PHA": (0, 4095), "PI": (0, 20479)}
    legal |= {"PATTERN": (0, 255), "CCDNR": (1, 12)}
    step = 1.38888888888889e-05
    axes = {"DETX": (0, "DETX_ANG", 0.0, step), "DETY": (0, "DETY_ANG", 0.0, step)}
    axes["X"] = (25921, "RA---TAN", exposure.pointing.ra, -step)
    axes["Y"] = (25921, "DEC--TAN", exposure.pointing.dec, step)
    for i, name in enumerate(names, 1):
        if name in legal:
            cards += [(f"TLMIN{i}", legal[name][0]), (f"TLMAX{i}", legal[name][1])]
        if name in axes:
            cards += _axis_cards(i, *axes[name])
        if name in ("X", "Y"):
            cards.append((f"TNULL{i}", NULL))
    return cards


def event_list(exposure, obs_id: str, rows: Iterable[np.ndarray], count: int):
    """Yield the bytes of an event list, extension by extension, as the pipeline orders them."""
    what = "TIMING" if "Fast" in exposure.submode else "IMAGING"
    camera = {"EPN": "PN", "EMOS1": "MOS1"}[exposure.camera]
    common = common_cards(exposure, obs_id, f"EPIC {camera} {what} MODE EVENT LIST")
    history = ("XPROC0", "evlistcomb eventsets='" + " ".join(["intermediate.fits"] * 9) + "'")
    yield primary([history, *common])
    size = 0
    for piece in rows:
        if not size:
            cards = event_cards(exposure, common, piece.dtype.names)
            yield table_header("EVENTS", piece.dtype, count, cards)
        data = _big_endian(piece)
        size += len(data)
        yield data
    yield _padding(size)
    offsets = np.zeros(3, [("RAWX", "i2"), ("OFFSETX", "i2"), ("CCDNR", "u1")])
    yield table("OFFSETS", offsets, common)
    _, live_s, frame_s = MODES[exposure.submode]
    frames = np.zeros(0, [("TIME", "f8"), ("FRACEXP", "f4")])
    for n, gti in exposure.stdgti.items():
        ccd = [*common, ("CCDID", n, "Numerical identifier of the CCD")]
        time = np.arange(exposure.start + frame_s / 2, exposure.stop, 256 * frame_s)
        frames = np.resize(frames, len(time))
        frames["TIME"] = time
        frames["FRACEXP"] = ((gti[:, :1] <= time) & (time <= gti[:, 1:])).any(0)
        yield table(f"EXPOSU{n:02d}", frames, [*ccd, ("TIMEDEL", live_s, "[s] of a frame")])
        yield table(f"BADPIX{n:02d}", exposure.bad[n], ccd)
    for n, gti in exposure.stdgti.items():
        ontime = ("ONTIME", float(np.diff(gti).sum()), f"Total good time for CCD {n}")
        cards = [*common, ("CCDID", n), ontime, ("HDUCLASS", "OGIP"), ("HDUCLAS1", "GTI")]
        yield table(f"STDGTI{n:02d}", gti_table(gti), cards)


def gti_table(gti: np.ndarray) -> np.ndarray:
    """Good time intervals (n, 2) as a table."""
    rows = np.zeros(len(gti), GTI)
    rows["START"], rows["STOP"] = gti.T
    return rows


def light_curve(rng, exposure, obs_id: str, *, flare: bool, threshold: bool):
    """Yield the bytes of a flare light curve, of which the quiet time is `exposure.quiet`."""
    curve = curve_rows(rng, exposure, flare=flare)
    cut = THRESHOLD if flare else float(np.nanmax(curve["RATE"])) + 0.01
    common = common_cards(exposure, obs_id, "EPIC FLARE BACKGROUND TIMESERIES")
    expression = " || ".join(f"(CCDNR in [{n}] && PI in [500:7500])" for n in range(1, 13))
    cards = [
        *common,
        ("SLCTEXPR", expression, "Filtering expression used by evselect"),
        ("TIMEDEL", 10.0, "Light curve bin size"),
        ("TSTART", float(curve["TIME"][0] - 5), "Light curve start time"),
        ("TSTOP", float(curve["TIME"][-1] + 5), "Light curve end time"),
        ("DEADAPP", True, "Dead time correction applied?"),
    ]
    if threshold:
        cards.append(("FLCUTTHR", cut, "Optimised flare cut threshold"))
    yield primary(common)
    yield table("RATE", curve, cards)
    yield table("GTI00001", gti_table(exposure.stdgti[1]), [("CCDID", 1)])
    cuts = np.zeros(1, [("BGRATECUT", "f4"), ("SIGNAL_NOISE", "f4")])
    yield table("SN_TO_BKGCUT", cuts, [("BGOPTCUT", cut), ("FRACTLFT", 0.9)])


def curve_rows(rng, exposure, *, flare: bool) -> np.ndarray:
    """Rows of the light curve: at most `THRESHOLD` in the quiet time, above or NaN outside.

    Bins are 10 s long, the first begins 2.5 s after the exposure; where the quiet time is broken
    without a flare the rows are missing.
    """
    count = int((exposure.stop - exposure.start - 2.5) // 10)
    time = exposure.start + 7.5 + 10.0 * np.arange(count)
    quiet = ((exposure.quiet[:, :1] < time) & (time < exposure.quiet[:, 1:])).any(0)
    gap = exposure.quiet[-1, 0] - 15
    there = np.abs(time - gap) > 15
    time, noisy = time[there], ~quiet[there]
    curve = np.zeros(len(time), [*RATE.descr, ("T_ELAPSED", "f8")])
    curve["TIME"], curve["T_ELAPSED"] = time, time - time[0]
    curve["RATE"], curve["ERROR"], curve["FRACEXP"] = rng.uniform(9, 20, len(time)), 1, 0.9
    if flare:
        curve["RATE"][noisy] = rng.uniform(21, 90, noisy.sum())
        # Equal to the threshold is good; the next number of its kind is not.
        curve["RATE"][np.flatnonzero(~noisy)[3]] = THRESHOLD
        curve["RATE"][np.flatnonzero(noisy)[0]] = np.nextafter(np.float32(THRESHOLD), np.inf)
        dead = np.flatnonzero(noisy)[-2:]
        curve["RATE"].view("u4")[dead] = SIGNALLING_NAN
        curve["FRACEXP"][dead] = 0
    return curve
