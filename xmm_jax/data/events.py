"""XMM-Newton EPIC imaging event lists: what a list says about itself, and its events in chunks.

Extensions and columns are found by name; the table is never held in memory. Times are seconds since
MJDREF (TT); DETX, DETY, X, Y are in steps of 0.05 arcsec (XMM-Newton Data Files Handbook).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from xmm_jax.data.binning import detector_grid
from xmm_jax.data.eligibility import FULL_FRAME_MODES
from xmm_jax.data.fitsfile import number
from xmm_jax.data.fitstable import Table, column_chunks, read_columns, read_tables, whole
from xmm_jax.data.gti import intersect, merge
from xmm_jax.errors import InputError

COLUMNS = {
    "time_s": "TIME",
    "rawx": "RAWX",
    "rawy": "RAWY",
    "detx": "DETX",
    "dety": "DETY",
    "sky_x": "X",
    "sky_y": "Y",
    "pi_ev": "PI",
    "flag": "FLAG",
    "pattern": "PATTERN",
    "ccdnr": "CCDNR",
}
"""Event arrays and the columns they come from."""

CAMERAS = {"EPN": "pn", "EMOS1": "mos1", "EMOS2": "mos2"}
WINDOW_MODES = ("PrimeLargeWindow", "PrimeSmallWindow")


@dataclass(frozen=True)
class SkyPlane:
    """How X and Y lie on the tangent plane about the nominal pointing.

    Parameters
    ----------
    centre_deg : tuple of float
        RA, Dec of the point of contact [deg]: TCRVL.
    reference : tuple of float
        X, Y of it: TCRPX.
    step_deg : tuple of float
        Degrees per step of X, Y: TCDLT; X grows to the west.
    null : tuple of int or None
        X, Y of events without a sky position: TNULL.
    """

    centre_deg: tuple[float, float]
    reference: tuple[float, float]
    step_deg: tuple[float, float]
    null: tuple[int | None, int | None]


@dataclass(frozen=True, eq=False)
class EventList:
    """An imaging event list, without its events.

    Parameters
    ----------
    path : Path
        The file.
    header : Header
        Header of EVENTS; cards that only the primary header has are added.
    table : Table
        Where the events lie.
    camera : str
        ``"pn"``, ``"mos1"`` or ``"mos2"``.
    obs_id : str
        Ten-digit observation.
    gti : dict of int to ndarray (n, 2)
        Good time [s] of every CCD that was read out.
    gti_origin : str
        ``"GTI"`` (after a time filter of SAS), ``"STDGTI"`` or ``"TSTART-TSTOP"``.
    livetime : dict of int to float
        Live time per on time of every CCD, 1 where the header has none.
    bad_pixels : dict of int to ndarray of int32 (n, 4)
        RAWX, RAWY, YEXTENT [CCD pixel], TYPE (1 hot, 2 flickering, 3 dead) of every CCD.
    sky : SkyPlane or None
        None when the list has no columns X, Y.
    notes : tuple of str
        What was assumed, one line each.
    """

    path: Path
    header: fits.Header
    table: Table
    camera: str
    obs_id: str
    gti: dict[int, np.ndarray]
    gti_origin: str
    livetime: dict[int, float]
    bad_pixels: dict[int, np.ndarray]
    sky: SkyPlane | None
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Number of events."""
        return self.table.rows


def read_event_list(
    path: str | Path, *, any_mode: bool = False, camera: str | None = "pn"
) -> EventList:
    """Read what an imaging event list says about itself: plain FITS, ``.gz`` or ``.FTZ``.

    Good time of a CCD comes from the table that the last time filter of SAS left (DSREFn), else
    from STDGTInn, else it is TSTART to TSTOP.

    Parameters
    ----------
    path : str or Path
        The file.
    any_mode : bool
        Accept window modes of EPIC-pn and closed filters.
    camera : str or None
        Camera expected; None accepts any.

    Returns
    -------
    EventList
        Events are read with `event_chunks`.

    Raises
    ------
    InputError
        Unreadable or truncated file, no EVENTS, a missing column, another camera, a timing or
        (without `any_mode`) window mode, or a header card that cannot be understood.
    """
    path = Path(path)
    primary, tables = read_tables(path)
    table = next((table for table in tables if table.name == "EVENTS"), None)
    if table is None:
        raise InputError(f"{path}: no extension EVENTS; give an imaging event list (PIEVLI)")
    try:
        header = table.header.copy()
        header.extend(primary, unique=True, strip=True)
        found = _camera(header, path, expected=camera)
        _check_mode(header, path, any_mode=any_mode)
        _check_columns(table, header)
        gti, origin, notes = _good_time(header, tables, path)
        return EventList(
            path=path,
            header=header,
            table=table,
            camera=found,
            obs_id=_obs_id(header, path),
            gti=gti,
            gti_origin=origin,
            livetime={ccd: _livetime(header, ccd) for ccd in gti},
            bad_pixels=_bad_pixels(tables),
            sky=_sky_plane(table),
            notes=(*notes, *_other_grid(table, found)),
        )
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, fits.VerifyError) as error:
        raise InputError(
            f"{path}: a header card cannot be understood ({' '.join(str(error).split())}); "
            "fetch the list again"
        ) from None


def event_chunks(
    events: EventList, names: Sequence[str] = tuple(COLUMNS), *, rows: int = 1_000_000
) -> Iterator[dict[str, np.ndarray]]:
    """Read events a number of rows at a time.

    Parameters
    ----------
    events : EventList
        The list.
    names : sequence of str
        Event arrays, keys of `COLUMNS`.
    rows : int
        Rows at a time; memory grows with it: 200 bytes a row.

    Yields
    ------
    dict of str to ndarray
        ``time_s`` float64 [s], all others int32; ``ccdnr`` is the CCD, without the readout node
        that MOS adds as tens.

    Raises
    ------
    InputError
        A column is missing or the file cannot be read to the end.
    """
    columns = [COLUMNS[name] for name in names]
    for piece in column_chunks(events.table, columns, rows=rows):
        chunk = {name: piece[COLUMNS[name]] for name in names}
        if events.camera != "pn" and "ccdnr" in chunk:
            chunk["ccdnr"] %= 10
        yield chunk


def _word(header: fits.Header, key: str) -> str:
    return str(header.get(key, "")).strip()


def _camera(header: fits.Header, path: Path, *, expected: str | None) -> str:
    """Camera of a list, refused when another one is expected."""
    stated = _word(header, "INSTRUME").upper()
    found = CAMERAS.get(stated)
    if found is None:
        raise InputError(f"{path}: INSTRUME is {stated or 'missing'}; give an EPIC event list")
    if expected is not None and found != expected:
        raise InputError(
            f"{path}: an event list of {found}, not of {expected}; give the EPIC-pn list (PIEVLI)"
        )
    return found


def _check_mode(header: fits.Header, path: Path, *, any_mode: bool) -> None:
    """Refuse lists without an image of the sky."""
    data, mode, name = (_word(header, key) for key in ("DATAMODE", "SUBMODE", "FILTER"))
    if data.upper() not in ("IMAGING", "") or re.match("Fast|.*(Timing|Burst)", mode):
        raise InputError(
            f"{path}: {mode or data} has no image coordinates; give a list of an imaging mode"
        )
    if any_mode:
        return
    pn_mode = _word(header, "INSTRUME").upper() != "EPN" or mode in FULL_FRAME_MODES
    if not pn_mode:
        raise InputError(
            f"{path}: SUBMODE is {mode or 'missing'}, part of the field is empty in it; "
            "pass --any-mode to go on"
        )
    if "CLOSED" in name.upper():
        raise InputError(f"{path}: FILTER is {name}, no sky in it; pass --any-mode to go on")


def _check_columns(table: Table, header: fits.Header) -> None:
    """Refuse a list that lacks a column or has one of another kind."""
    for name, column in COLUMNS.items():
        if name in ("sky_x", "sky_y"):
            continue
        if column not in (table.row.names or ()):
            raise InputError(f"{table.path}: EVENTS has no column {column}; give the list as made")
        kind = table.row[column]
        if kind.shape or kind.kind not in ("f" if name == "time_s" else "iu"):
            raise InputError(
                f"{table.path}: column {column} has an unexpected type; give the list as made"
            )


def _obs_id(header: fits.Header, path: Path) -> str:
    """Ten digits of OBS_ID, else of the file name: images are named after them."""
    stated = header.get("OBS_ID", "")
    if isinstance(stated, int) and not isinstance(stated, bool):
        stated = f"{stated:010d}"
    digits = re.fullmatch(r"\d{10}", str(stated).strip()) or re.search(r"\d{10}", path.name)
    return digits[0] if digits else "unknown"


def _good_time(
    header: fits.Header, tables: list[Table], path: Path
) -> tuple[dict[int, np.ndarray], str, tuple[str, ...]]:
    """Good time per CCD, where it comes from, and what had to be assumed."""
    named = {table.name: table for table in reversed(tables)}
    filtered = [named[name] for name in _time_filter(header) if name in named]
    standard = [table for table in tables if re.fullmatch(r"STDGTI\d\d", table.name)]
    gti: dict[int, np.ndarray] = {}
    everywhere: list[np.ndarray] = []  # of tables that hold for all CCDs
    origin = ""
    for table in filtered + standard:
        digits = re.fullmatch(r"STDGTI(\d\d)", table.name)
        ccd = whole(table.header, "CCDID", int(digits[1]) if digits else 0)
        if 1 <= ccd <= 12 and ccd not in gti:
            gti[ccd] = _intervals(table)
        elif ccd == 0:
            everywhere.append(_intervals(table))
        origin = origin or re.sub(r"\d.*", "", table.name)
    stated = [ccd for ccd in range(1, 13) if number(header, f"ONTIME{ccd:02d}", 0.0) > 0]
    silent = [ccd for ccd in stated or range(1, 13) if ccd not in gti]
    notes: tuple[str, ...] = ()
    if silent and (stated or not gti):
        always = merge([number(header, "TSTART"), number(header, "TSTOP")])
        gti |= dict.fromkeys(silent, always)
        ccds = ", ".join(map(str, silent))
        notes = (f"{path}: no good time intervals for CCD {ccds}; TSTART to TSTOP",)
    for intervals in everywhere:
        gti = {ccd: intersect(own, intervals) for ccd, own in gti.items()}
    return dict(sorted(gti.items())), origin or "TSTART-TSTOP", notes


def _intervals(table: Table) -> np.ndarray:
    """Good time of a table with columns START and STOP."""
    columns = read_columns(table, ("START", "STOP"))
    return merge(np.stack([columns["START"], columns["STOP"]], axis=1))


def _time_filter(header: fits.Header) -> list[str]:
    """Names of the tables of the last time component of the SAS data subspace, one per CCD."""
    last = [
        int(key[5:]) for key in header if re.fullmatch(r"DSTYP\d+", key) and header[key] == "TIME"
    ]
    if not last:
        return []
    cards = [key for key in header if re.fullmatch(rf"\d*DSREF{max(last)}", key)]
    return [str(header[key]).strip().lstrip(":").upper() for key in cards]


def _livetime(header: fits.Header, ccd: int) -> float:
    """Live time per second of on time."""
    ontime = number(header, f"ONTIME{ccd:02d}", 0.0)
    live = number(header, f"LIVETI{ccd:02d}", 0.0)
    return live / ontime if 0 < live <= ontime else 1.0


def _bad_pixels(tables: list[Table]) -> dict[int, np.ndarray]:
    """Bad pixels per CCD from BADPIXnn; a list without these tables has none."""
    found = {}
    for table in tables:
        digits = re.fullmatch(r"BADPIX(\d\d)", table.name)
        if digits:
            columns = read_columns(table, ("RAWX", "RAWY", "YEXTENT", "TYPE"))
            found[int(digits[1])] = np.stack(list(columns.values()), axis=1).astype(np.int32)
    return found


def _other_grid(table: Table, camera: str) -> tuple[str, ...]:
    """Say where SAS would begin the image of this list elsewhere than that of other lists."""
    names, wanted = table.row.names or (), detector_grid().low
    axes = [names.index(name) + 1 for name in ("DETX", "DETY")]
    low = tuple(
        whole(table.header, f"TLMIN{n}", usual) for n, usual in zip(axes, wanted, strict=True)
    )
    if camera != "pn" or low == wanted:
        return ()
    return (f"{table.path}: DETX, DETY begin at {low}; images begin at {wanted} all the same",)


def _sky_plane(table: Table) -> SkyPlane | None:
    """Tangent plane of X and Y; None when the columns or their coordinates are missing."""
    names = table.row.names or ()
    if "X" not in names or "Y" not in names:
        return None
    header = table.header
    axes = [names.index(name) + 1 for name in ("X", "Y")]
    if any(f"{key}{n}" not in header for key in ("TCRPX", "TCRVL", "TCDLT") for n in axes):
        return None
    kinds = [str(header.get(f"TCTYP{n}", word)).strip() for n, word in zip(axes, _TAN, strict=True)]
    if tuple(kinds) != _TAN:
        return None
    centre, reference, step = (
        (number(header, f"{key}{axes[0]}"), number(header, f"{key}{axes[1]}"))
        for key in ("TCRVL", "TCRPX", "TCDLT")
    )
    if not (abs(centre[1]) <= 90 and abs(centre[0]) <= 360 and all(step)):
        raise ValueError(f"TCRVL {centre}, TCDLT {step} of X and Y are no sky coordinates")
    x, y = (whole(header, f"TNULL{n}") if f"TNULL{n}" in header else None for n in axes)
    return SkyPlane(centre, reference, step, (x, y))


_TAN = ("RA---TAN", "DEC--TAN")
