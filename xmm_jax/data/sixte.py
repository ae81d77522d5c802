"""The published SIXTE simulations (Sweere et al. 2022): file names, components, co-adding.

Folders ``<root>/<exposure>ks/{img,agn,background}/{1x,2x}`` hold count images of extended sources,
point sources and background. Every sky was simulated once for 100 ks at each resolution and cut
into parts: part i of an exposure T covers i T to (i + 1) T, so parts of different T share photons.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xmm_jax.data.fitsfile import read_image
from xmm_jax.data.observation import as_counts, stated_exposure
from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import PN
from xmm_jax.instrument.detector import mask as detector_mask

KINDS = ("img", "agn", "background")

_PARTS = r"_mult_(?P<upscale>\d+)_(?P<ks>\d+)ks"
_GRAMMAR = {
    "img": re.compile(
        rf"(?P<key>(?P<box>TNG\d+)_\d+_z_\d+_subhalos_(?P<halo>\d+)_.*){_PARTS}_p_(?P<part>\d+)-\d+"
    ),
    "agn": re.compile(rf"(?P<key>agn_.*){_PARTS}_p_(?P<part>\d+)-\d+"),
    "background": re.compile(rf"background{_PARTS}_(?P<key>\d+)"),
}


@dataclass(frozen=True)
class Component:
    """One file of the published layout, as its name tells.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        ``img``, ``agn`` or ``background``.
    key : str
        What was simulated: the same at every resolution, exposure and part.
    source : str
        What is on the sky: for ``img`` the sub-halo (box and number), the same for every
        projection, zoom and brightness of it; else `key`.
    upscale : int
        1 for 4 arcsec, 2 for 2 arcsec pixels.
    exposure_ks : int
        Nominal exposure [ks].
    part : int or None
        Which stretch of the 100 ks; None where the name does not say (background).
    """

    path: Path
    kind: str
    key: str
    source: str
    upscale: int
    exposure_ks: int
    part: int | None


def parse_name(path: str | Path) -> Component | None:
    """Read what a component is from its file name.

    Parameters
    ----------
    path : str or Path
        The file; it need not exist.

    Returns
    -------
    Component or None
        None for a file of another kind.
    """
    path = Path(path)
    stem = re.sub(r"\.(fits|ds)(\.gz)?$", "", path.name)
    for kind, grammar in _GRAMMAR.items():
        if found := grammar.fullmatch(stem):
            named = found.groupdict()
            return Component(
                path=path,
                kind=kind,
                key=named["key"],
                source=f"{named['box']}-{named['halo']}" if kind == "img" else named["key"],
                upscale=int(named["upscale"]),
                exposure_ks=int(named["ks"]),
                part=int(named["part"]) if "part" in named else None,
            )
    return None


def find_components(
    root: str | Path, kind: str, *, exposure_ks: int, upscale: int
) -> dict[str, list[Component]]:
    """List the components of one folder of the published layout.

    Parameters
    ----------
    root : str or Path
        Folder that holds ``20ks``, ``50ks``, ``100ks``.
    kind : str
        ``img``, ``agn`` or ``background``.
    exposure_ks : int
        Exposure [ks].
    upscale : int
        1 or 2.

    Returns
    -------
    dict of str to list of Component
        Parts of each key, both in order.

    Raises
    ------
    InputError
        The folder is missing or holds no such files.
    """
    folder = Path(root) / f"{exposure_ks}ks" / kind / f"{upscale}x"
    found: dict[str, list[Component]] = {}
    for path in sorted(folder.glob("*.fits*")):
        component = parse_name(path)
        if component is not None and component.kind == kind:
            found.setdefault(component.key, []).append(component)
    if not found:
        raise InputError(
            f"{folder}: no {kind} images; expected the published layout "
            "<root>/<exposure>ks/{img,agn,background}/{1x,2x}"
        )
    return found


def read_mask(root: str | Path, upscale: int) -> np.ndarray:
    """Detector mask of the published layout, the one of the camera where there is none.

    Parameters
    ----------
    root : str or Path
        Folder that may hold ``detector_mask/{1x,2x}/<one file>``.
    upscale : int
        1 or 2.

    Returns
    -------
    ndarray of bool, shape (411 upscale, 403 upscale)
        True where the detector is alive.
    """
    files = sorted((Path(root) / "detector_mask" / f"{upscale}x").glob("*"))
    if not files:
        return detector_mask(PN, upscale)
    return as_counts(read_image(files[0]).data, files[0], shape=_shape(upscale)) > 0


def _shape(upscale: int) -> tuple[int, int]:
    return upscale * PN.shape[0], upscale * PN.shape[1]


def read_component(component: Component) -> tuple[np.ndarray, float]:
    """Counts and exposure of one component.

    Parameters
    ----------
    component : Component
        Which one.

    Returns
    -------
    counts : ndarray of int32, shape (411 upscale, 403 upscale)
        Counts per pixel [count].
    exposure_s : float
        EXPOSURE of the header [s].

    Raises
    ------
    InputError
        Unreadable, not counts, or of another exposure than its name says.
    """
    image = read_image(component.path)
    counts = as_counts(image.data, component.path, shape=_shape(component.upscale))
    exposure_s = stated_exposure(image.header, component.path)
    if abs(exposure_s - 1000 * component.exposure_ks) > 0.01 * exposure_s:
        raise InputError(
            f"{component.path}: EXPOSURE is {exposure_s:g} s, the name says "
            f"{component.exposure_ks} ks; fetch the file again"
        )
    return counts, exposure_s


def coadd(images: Iterable[np.ndarray], mask: np.ndarray) -> np.ndarray:
    """Add components and mask the sum, as the published combinations were made.

    Parameters
    ----------
    images : iterable of ndarray, shape (y, x)
        Counts per pixel [count] of the same exposure.
    mask : ndarray, shape (y, x)
        Non-zero where the detector is alive.

    Returns
    -------
    ndarray of int32, shape (y, x)
        Counts per pixel [count], 0 where dead.
    """
    return np.where(np.asarray(mask) > 0, sum(np.asarray(image) for image in images), 0).astype(
        np.int32
    )
