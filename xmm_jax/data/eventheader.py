"""Header of an image made from an event list: what the list says, and how the image was made."""

from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from astropy.time import Time

from xmm_jax import __version__
from xmm_jax.data.binning import Grid
from xmm_jax.data.eventparts import Part
from xmm_jax.data.events import EventList
from xmm_jax.data.eventwcs import WORST_RMS_ARCSEC, WcsFit
from xmm_jax.data.fitsfile import in_header, number
from xmm_jax.data.quiet import quiet
from xmm_jax.data.selection import Selection, describe
from xmm_jax.data.wcs import regrid_header
from xmm_jax.errors import InputError

AIM_CCD = 4
"""CCD of EPIC-pn that holds the aim point: its times are ONTIME and LIVETIME."""

_KEPT = (  # noqa: SIM905
    "TELESCOP INSTRUME OBS_ID EXP_ID EXPIDSTR DATAMODE SUBMODE FILTER FRMTIME OBJECT OBSERVER "
    "RA_OBJ DEC_OBJ RA_NOM DEC_NOM RA_PNT DEC_PNT PA_PNT AVRG_PNT REVOLUT DATE-OBS DATE-END "
    "TIMESYS MJDREF TIMEUNIT TIMEREF TASSIGN TIMEZERO CLOCKAPP EQUINOX SASVERS PPSVERS"
).split()
_PROJECTED = ("CTYP", "CRPX", "CRVL", "CDLT", "LMIN", "LMAX", "CUNI")


def image_header(
    events: EventList, part: Part, selection: Selection, grid: Grid, fit: WcsFit
) -> fits.Header:
    """Header of one image.

    Parameters
    ----------
    events : EventList
        The list it was made of.
    part : Part
        Its good time.
    selection : Selection
        Its events.
    grid : Grid
        Its pixels.
    fit : WcsFit
        Its sky coordinates; without them the pointing of the header is used, unless the events show
        that it moved.

    Returns
    -------
    Header
        One celestial WCS, the detector axes as WCS L, times, selection and provenance.

    Raises
    ------
    InputError
        A card of the list cannot be understood.
    """
    try:
        return _composed(events, part, selection, grid, fit)
    except (ValueError, TypeError, KeyError, fits.VerifyError) as error:
        raise InputError(
            f"{events.path}: a header card cannot be understood ({' '.join(str(error).split())}); "
            "fetch the list again"
        ) from None


def _composed(
    events: EventList, part: Part, selection: Selection, grid: Grid, fit: WcsFit
) -> fits.Header:
    """Cards of the list that are kept, then what is known of the image."""
    projected = [f"REF{axis}{word}" for axis in "XY" for word in _PROJECTED]
    said = events.header
    kept = [key for key in (*_KEPT, *projected) if key in said]
    header = fits.Header([(key, said[key], said.comments[key]) for key in kept])
    for axis, name, first in zip((1, 2), ("DETX", "DETY"), grid.first_centre, strict=True):
        header[f"CTYPE{axis}L"] = name
        header[f"CRPIX{axis}L"], header[f"CRVAL{axis}L"] = 1.0, first
        header[f"CDELT{axis}L"] = float(grid.bin_size)
    for key, date in zip(("DATE-BEG", "DATE-END"), _dates(events, part), strict=True):
        header[key] = (date, "of the good time, UTC")
    header["WCSMETH"] = "HEADER" if fit.wcs is None else "LSQ-EVENTS"
    if fit.wcs is not None:
        _put_wcs(header, fit)
    elif fit.rms_arcsec > WORST_RMS_ARCSEC:
        header["WCSMETH"] = "NONE"
    header = regrid_header(header)
    _put(header, _wcs_cards(fit))
    _put(header, _time_cards(events, part))
    _put(header, _selection_cards(part, selection, grid))
    header.add_history(f"made of {in_header(events.path.name)}, good time of {events.gti_origin}")
    for note in (*events.notes, *part.notes, *([fit.note] if fit.note else [])):
        header.add_history(in_header(note.replace(str(events.path), events.path.name)))
    return header


def _put(header: fits.Header, cards: Sequence[tuple[str, object, str]]) -> None:
    for key, value, comment in cards:
        header[key] = (value, comment)


def _put_wcs(header: fits.Header, fit: WcsFit) -> None:
    """Celestial cards; `regrid_header` completes them."""
    core = fit.wcs.wcs  # type: ignore[union-attr]
    for n in (1, 2):
        header[f"CTYPE{n}"] = core.ctype[n - 1]
        header[f"CRPIX{n}"], header[f"CRVAL{n}"] = core.crpix[n - 1], core.crval[n - 1]
        for m in (1, 2):
            header[f"CD{n}_{m}"] = core.cd[n - 1, m - 1]
    header["RADESYS"], header["EQUINOX"] = core.radesys, core.equinox


def _wcs_cards(fit: WcsFit) -> list[tuple[str, object, str]]:
    cards: list[tuple[str, object, str]] = [("WCSNEVT", fit.events, "events the WCS was fitted to")]
    if fit.wcs is None:
        return cards
    return [("WCSRMS", round(fit.rms_arcsec, 4), "[arcsec] residual of the fit per axis"), *cards]


def _span(part: Part) -> tuple[float, float]:
    """First and last good moment [s]."""
    rows = np.concatenate(list(part.gti.values()))
    return float(rows[:, 0].min()), float(rows[:, 1].max())


def _dates(events: EventList, part: Part) -> list[str]:
    """First and last good moment as dates, UTC; times of event lists are TT since MJDREF."""
    days = np.array(_span(part)) / 86400
    with quiet(about="ERFA"):  # no leap seconds are known of years to come
        day = Time(number(events.header, "MJDREF", 50814.0), days, format="mjd", scale="tt")
        return [str(date) for date in np.asarray(Time(day, format="isot", scale="utc").value)]


def _time_cards(events: EventList, part: Part) -> list[tuple[str, object, str]]:
    """When, and for how long."""
    ontime = part.ontime_s
    start, stop = _span(part)
    live = {ccd: seconds * events.livetime[ccd] for ccd, seconds in ontime.items()}
    aim = AIM_CCD if AIM_CCD in ontime else max(ontime, key=ontime.__getitem__)
    cards: list[tuple[str, object, str]] = [
        ("EXPOSURE", part.exposure_s, "[s] largest ONTIMEnn"),
        ("ONTIME", ontime[aim], f"[s] good time of CCD {aim}"),
        ("LIVETIME", live[aim], f"[s] live time of CCD {aim}"),
        ("TSTART", start, "[s] first good time"),
        ("TSTOP", stop, "[s] last good time"),
        ("TELAPSE", stop - start, "[s] TSTOP - TSTART"),
    ]
    cards += [(f"ONTIME{ccd:02d}", ontime[ccd], f"[s] good time of CCD {ccd}") for ccd in ontime]
    cards += [(f"LIVETI{ccd:02d}", live[ccd], f"[s] live time of CCD {ccd}") for ccd in live]
    return cards


def _selection_cards(part: Part, selection: Selection, grid: Grid) -> list[tuple[str, object, str]]:
    """Which events, which time."""
    flags = "FLAG==0 or OUT_OF_FOV" if selection.keep_corners else "FLAG==0"
    return [
        ("SLCTEXPR", describe(selection), ""),
        ("PIMIN", selection.pi_ev[0], "[eV] lowest PI"),
        ("PIMAX", selection.pi_ev[1], "[eV] highest PI"),
        ("FLAGSEL", flags, "selection by FLAG"),
        ("PATMAX", selection.pattern_max, "highest PATTERN"),
        ("BINSIZE", grid.bin_size, "[0.05 arcsec] pixel"),
        ("FLAREFIL", part.filtered, "whether flares were taken out"),
        ("MINGTISZ", part.min_gti_s, "[s] shortest quiet interval kept"),
        ("EXPLIM", part.limit_s, "[s] good time asked for, 0 is all"),
        ("EXPSPLIT", f"{part.number}/{part.of}", "part of the good time"),
        ("EXPORDER", part.order, "intervals taken by time or longest first"),
        ("HDUCLASS", "OGIP", "format"),
        ("HDUCLAS1", "IMAGE", "an image"),
        ("HDUCLAS2", "TOTAL", "source and background"),
        ("HDUVERS1", "1.1.0", "version of the format"),
        ("CREATOR", f"xmm_jax {__version__}", "program"),
        ("DATE", str(Time.now().isot)[:19], "when this was made, UTC"),
    ]
