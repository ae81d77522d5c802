"""Make detector images of EPIC-pn event lists, without SAS: ``python -m xmm_jax.image 0852030101``.

An OBS_ID is fetched from the XMM-Newton Science Archive, a folder or file is read where it is.
Flares are cut out, and the first 20 ks of good time become
``<OBS_ID>_pn_cleaned_20.0ks_detxy_500_2000_80.fits``, the input of `enhance`, with the extensions
EXPOSURE, MASK and GTI01 to GTI12. Names and options are those of the published script
``make_detxy_pn_image_pps.py``; ``--split`` gives the names of the published real images.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from astropy.io import fits
from tyro.conf import Positional

from xmm_jax.data.archive import fetch_pps
from xmm_jax.data.binning import detector_grid
from xmm_jax.data.eventimage import (
    EventImage,
    Part,
    make_images,
    out_of_time_image,
    plan_parts,
    write_event_image,
)
from xmm_jax.data.events import EventList, read_event_list
from xmm_jax.data.fitsfile import in_header, write_fits
from xmm_jax.data.flares import LightCurve, quiet_gti
from xmm_jax.data.gti import length_s
from xmm_jax.data.pps import EventFiles, find_event_files, find_products, read_curve
from xmm_jax.data.selection import Selection
from xmm_jax.errors import InputError, command
from xmm_jax.flags import parse_flags
from xmm_jax.log import say
from xmm_jax.preview import can_draw, write_curve

MANY_FLARES = 0.25
"""Share of the exposure above which flares are worth a warning."""


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """What to make images of, and how."""

    where: Positional[tuple[str, ...]] = ()
    """OBS_ID (ten digits: fetched), folder of pipeline products, or event lists; needed."""
    low_pi: int = 500
    """Lowest energy, PI [eV]."""
    high_pi: int = 2000
    """Highest energy, PI [eV]; both ends are included."""
    expo_time: float = 20.0
    """Good time to use [ks]; 0 or less = all. Within 15 % of it, all is used."""
    exact: bool = False
    """Cut also exposures that are less than 15 % too long."""
    split: str = ""
    """Instead: all parts of these lengths [ks], such as 10,20,50."""
    order: Literal["time", "longest"] = "time"
    """Which good time: the first, or the longest intervals."""
    min_gti: float = 0.0
    """Leave out quiet intervals shorter than this [s]."""
    unfiltered: bool = False
    """Keep the flares: use all the time, and need no light curve."""
    bin_size: Annotated[int, tyro.conf.arg(aliases=("--binSize",))] = 80
    """Pixel size [0.05 arcsec]; the networks take 80."""
    keep_corners: bool = False
    """Keep events outside the field of view, as the published training images do."""
    any_mode: bool = False
    """Also window modes, in which a part of the field is empty."""
    oot_image: bool = False
    """Also write an estimate of the out-of-time events, <name>_oot.fits, to look at."""
    save_dir: str = "."
    """Folder for the images; an OBS_ID is fetched to <save_dir>/<OBS_ID>/pps."""
    pps_dir: str = ""
    """Folder with the products of the OBS_ID, if it is not that one."""
    archive: str = ""
    """Address of the archive; empty: $XMM_JAX_ARCHIVE_URL, else that of ESA."""
    offline: bool = False
    """Fetch nothing: take products that are there already."""
    plot: Literal["auto", "yes", "no"] = "auto"
    """Draw the light curve with the time that was used; auto: if matplotlib is installed."""
    dry_run: bool = False
    """Say what would be made, and write nothing."""
    overwrite: bool = False
    """Replace images that are there."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Make images as the command line says."""
    config = parse_flags(
        ImageConfig(), argv, verb="image", description="Make images of EPIC-pn event lists."
    )
    check(config)
    failed, outputs = [], set()
    for where in config.where:
        try:
            made = image_observation(where, config, avoid=outputs)
        except InputError as error:
            failed.append(error)
            if len(config.where) > 1:
                say(f"failed: {error}")
        else:
            outputs.update(made)
    if len(failed) == 1 == len(config.where):
        raise failed[0]
    if failed:
        raise InputError(
            f"{len(failed)} of {len(config.where)} failed, {len(outputs)} images written, see above"
        )


def check(config: ImageConfig) -> None:
    """Refuse settings that cannot be.

    Raises
    ------
    InputError
        The first that is wrong.
    """
    if not config.where:
        raise InputError("name an OBS_ID, a folder or an event list: xmm-jax image 0852030101")
    if not 0 <= config.low_pi <= config.high_pi:
        raise InputError(
            f"--low_pi={config.low_pi} --high_pi={config.high_pi}: energies must not be negative, "
            "and the lowest not above the highest"
        )
    if not math.isfinite(config.expo_time):
        raise InputError(f"--expo_time={config.expo_time}: give ks, 0 for all")
    if not 0 <= config.min_gti < math.inf:
        raise InputError(f"--min_gti={config.min_gti}: give seconds, 0 or more")
    if config.plot == "yes" and not can_draw():
        raise InputError("--plot=yes needs matplotlib: pip install 'xmm-jax[plot]'")
    detector_grid(config.bin_size)
    split_ks(config)


def split_ks(config: ImageConfig) -> list[float] | None:
    """Lengths of the parts [ks], None without ``--split``.

    Raises
    ------
    InputError
        Not a list of positive numbers.
    """
    if not config.split:
        return None
    try:
        lengths = [float(word) for word in config.split.split(",")]
    except ValueError:
        lengths = [0.0]
    if not all(0 < length < math.inf for length in lengths):
        raise InputError(f"--split={config.split}: give lengths in ks, such as 10,20,50")
    return sorted(set(lengths))


def image_of(
    obs_id: str, *, save_dir: str, pps_dir: str = "", archive: str = "", offline: bool = False
) -> Path:
    """The image of an observation that networks take: made if it is not there.

    Parameters
    ----------
    obs_id : str
        Ten digits.
    save_dir, pps_dir, archive, offline
        As in `ImageConfig`.

    Returns
    -------
    Path
        20 ks, or what there is, 0.5-2 keV, 4 arcsec pixels.

    Raises
    ------
    InputError
        As `image_observation`.
    """
    if not is_obs_id(obs_id):
        raise InputError(f"{obs_id}: an OBS_ID has ten digits, such as 0852030101")
    there = sorted(Path(save_dir).glob(f"{obs_id}_pn_cleaned*_detxy_500_2000_80.fits"))
    if there:
        say(f"{there[0]}: is there already")
        return there[0]
    config = ImageConfig(
        (obs_id,), save_dir=save_dir, pps_dir=pps_dir, archive=archive, offline=offline
    )
    (path,) = image_observation(obs_id, config, avoid=set())
    return path


def image_observation(where: str, config: ImageConfig, *, avoid: set[Path]) -> list[Path]:
    """Make the images of one observation.

    Parameters
    ----------
    where : str
        OBS_ID, folder or event list.
    config : ImageConfig
        How.
    avoid : set of Path
        Images of the same run, which are not replaced.

    Returns
    -------
    list of Path
        Images written; none of a dry run.

    Raises
    ------
    InputError
        No event list, an unusable one, no good time, no events, or an image that is there already.
    """
    files = find_files(where, config)
    if files is None:
        return []
    events = read_event_list(files.events, any_mode=config.any_mode)
    if is_obs_id(where) and events.obs_id != where:
        raise InputError(f"{events.path}: of {events.obs_id}, not of {where}; check --pps_dir")
    for note in events.notes:
        say(note)
    curve = None if config.unfiltered else read_curve(files)
    quiet = None if curve is None else quiet_gti(curve)
    parts = plan_parts(
        events,
        quiet,
        expo_time_ks=config.expo_time,
        exact=config.exact,
        order=config.order,
        split_ks=split_ks(config),
        min_gti_s=config.min_gti,
    )
    say(f"{files.events.name}: {summary(events, curve, quiet, config)}")
    outputs = [output_path(events.obs_id, part, config) for part in parts]
    if config.dry_run:
        for part, path in zip(parts, outputs, strict=True):
            say(f"would write {path}: {part.exposure_s / 1000:.2f} ks")
        return []
    for path in outputs:
        if path in avoid:
            raise InputError(f"{path}: made of another event list a moment ago; run them apart")
        if path.exists() and not config.overwrite:
            raise InputError(f"{path}: exists already; choose another --save_dir or --overwrite")
    selection = Selection((config.low_pi, config.high_pi), keep_corners=config.keep_corners)
    images = make_images(events, parts, selection=selection, bin_size=config.bin_size)
    for image, path in zip(images, outputs, strict=True):
        if curve is not None:
            image.header["FLCUTTHR"] = (curve.threshold, "[count/s] largest quiet rate")
            image.header.add_history(f"flares taken out with {in_header(curve.path.name)}")
        if config.oot_image:
            write_out_of_time(path, image, events, selection, config.bin_size)
        write_image(path, image, known=events.notes)
    if curve is not None and quiet is not None and config.plot != "no" and can_draw():
        name = "split" if config.split else parts[0].name
        path = Path(config.save_dir) / f"{events.obs_id}_pn_{name}_lightcurve.png"
        say(f"wrote {write_curve(path, curve, quiet, parts)}")
    return outputs


def is_obs_id(where: str) -> bool:
    """Whether a word is an OBS_ID; a folder of that name is meant by ``./0852030101``."""
    return re.fullmatch(r"[0-9]{10}", where) is not None


def find_files(where: str, config: ImageConfig) -> EventFiles | None:
    """Event list and light curve; None for a dry run of what is not fetched yet.

    Raises
    ------
    InputError
        There are none, or they cannot be fetched.
    """
    place = Path(where)
    if config.pps_dir and not is_obs_id(where):
        raise InputError(f"{where}: --pps_dir goes with an OBS_ID (ten digits); leave it out")
    if config.pps_dir:
        below = Path(config.save_dir) / where / config.pps_dir  # as the published script has it
        place = below if below.is_dir() else Path(config.pps_dir)
    elif is_obs_id(where):
        place = Path(config.save_dir) / where / "pps"
        if config.dry_run and not find_products(place):
            say(f"would fetch the products of {where} to {place}")
            return None
        fetch_pps(
            where,
            folder=config.save_dir,
            base_url=config.archive or None,
            offline=config.offline or config.dry_run,
            report=say,
        )
    files = find_event_files(place, any_mode=config.any_mode)
    for note in files.notes:
        say(note)
    return files


def summary(
    events: EventList, curve: LightCurve | None, quiet: np.ndarray | None, config: ImageConfig
) -> str:
    """Mode, filter, exposure and what the flares take of it, in one line.

    What is ``quiet`` are intervals [s], (n, 2), as of `xmm_jax.data.flares`.
    """
    mode, filter_, exposure = (
        str(events.header.get(key, "unknown")).strip() for key in ("SUBMODE", "FILTER", "EXPIDSTR")
    )
    total = max(length_s(gti) for gti in events.gti.values())
    text = f"{exposure}, {mode}, {filter_}, {total / 1000:.1f} ks"
    if curve is None:
        return f"{text}, flares not taken out (--unfiltered)"
    (whole,) = plan_parts(events, quiet, expo_time_ks=0, min_gti_s=config.min_gti)
    lost = 1 - whole.exposure_s / total
    remark = ", much: look at the light curve" if lost > MANY_FLARES else ""
    return (
        f"{text}, {whole.exposure_s / 1000:.1f} ks without flares above {curve.threshold:.2f} "
        f"count/s ({lost:.0%} lost{remark})"
    )


def output_path(obs_id: str, part: Part, config: ImageConfig) -> Path:
    """File name of an image: that of the published script, or of the published real images."""
    band, pixel = f"{config.low_pi}_{config.high_pi}", config.bin_size
    limit = "" if part.name == "full" else f"_{part.name}"
    name = f"{obs_id}_pn_cleaned{limit}_detxy_{band}_{pixel}.fits"
    if config.split:
        size = "" if pixel == 80 else f"_{pixel}"
        name = f"{obs_id}_image_split_{band}{size}_{part.name}.fits"
    return Path(config.save_dir) / name


def write_image(path: Path, image: EventImage, *, known: Sequence[str]) -> None:
    """Write one image, and say what it is and those of its notes that are not ``known`` yet."""
    for note in image.notes:
        if note not in known:
            say(f"{path.name}: {note}")
    write_event_image(path, image)
    sky = f", sky to {image.wcs.rms_arcsec:.2f} arcsec" if image.wcs.wcs is not None else ""
    exposure_ks = image.part.exposure_s / 1000
    say(f"wrote {path}: {image.counts.sum()} counts in {exposure_ks:.2f} ks{sky}")


def write_out_of_time(
    path: Path, image: EventImage, events: EventList, selection: Selection, bin_size: int
) -> None:
    """Write the estimate of the out-of-time events of one image beside it.

    Parameters
    ----------
    path, image : Path, EventImage
        The image and its file.
    events, selection : EventList, Selection
        What it is made of.
    bin_size : int
        Side of its pixels [0.05 arcsec].
    """
    expected = out_of_time_image(events, image.part, selection=selection, bin_size=bin_size)
    hdu = fits.PrimaryHDU(expected, header=image.header)
    hdu.header["BUNIT"] = "count"
    hdu.header.add_history("out-of-time events expected in the image; to look at, not to subtract")
    say(f"wrote {write_fits(path.with_name(f'{path.stem}_oot.fits'), [hdu])}")


if __name__ == "__main__":
    main()
