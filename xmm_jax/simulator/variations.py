"""What differs from one observation to the next beside the sky: augmentations, all off by default.

They belong to the `physical` preset; `reference` repeats published files, which have none.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.errors import InputError
from xmm_jax.instrument.camera import Camera
from xmm_jax.instrument.detector import DETECTORS, ccd_number, mask, pixel_response


@dataclass(frozen=True)
class Variations:
    """Augmentations of a draw; the default changes nothing.

    Attributes
    ----------
    detectors : tuple of str
        Kinds of detector to choose from with equal odds, out of ``"sharp"`` (published mask, sound
        columns), ``"soft"`` (published mask, weak columns beside the gaps) and ``"dead"`` (the
        weakest columns masked as well). Empty: that of the preset.
    bad_columns : int
        Up to this many half columns more are dead, every number equally likely.
    bad_pixels : int
        Up to this many pixels more are dead, every number equally likely.
    ccd_exposure : float
        Every CCD misses a share of the exposure, uniform from 0 to this; the exposure map says so.
    blends : float
        Share of the brightest point sources that get a companion within 12 arcsec.

    Raises
    ------
    InputError
        For a value out of range.
    """

    detectors: tuple[str, ...] = ()
    bad_columns: int = 0
    bad_pixels: int = 0
    ccd_exposure: float = 0.0
    blends: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for name in self.detectors:
            if name not in DETECTORS:
                raise InputError(
                    f"detector {name!r} is unknown; choose from {', '.join(DETECTORS)}"
                )
        if min(self.bad_columns, self.bad_pixels) < 0:
            raise InputError("bad_columns and bad_pixels are numbers of 0 or more")
        if not 0.0 <= self.ccd_exposure < 1.0:
            raise InputError(f"ccd_exposure must lie in 0 to 1, got {self.ccd_exposure:g}")
        if not 0.0 <= self.blends <= 1.0:
            raise InputError(f"blends must lie in 0 to 1, got {self.blends:g}")


AS_BUILT = Variations()
# For training that is to hold on any observation: bad columns as seen from 2001 to 2018.
VARIED = Variations(
    detectors=("sharp", "soft", "dead"), bad_columns=4, bad_pixels=20, ccd_exposure=0.03
)


def draw_detector(
    key: jax.Array, camera: Camera, variations: Variations, *, soft: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draw the detector of one observation.

    Parameters
    ----------
    key : array
        Random key.
    camera : Camera
        The camera.
    variations : Variations
        What may vary.
    soft : bool
        Whether the detector is ``"soft"`` where `variations` names none, else ``"sharp"``.

    Returns
    -------
    live, response, share : array
        Live pixels, response of the pixels, and share of the exposure, each [y, x] of the native
        frame.
    """
    kind_key, column_key, pixel_key, ccd_key = jax.random.split(key, 4)
    kinds = variations.detectors or (("soft",) if soft else ("sharp",))
    tables = [DETECTORS[kind](mask(camera), pixel_response(camera)) for kind in kinds]
    kind = jax.random.randint(kind_key, (), 0, len(kinds))
    live = jnp.asarray(np.stack([one for one, _ in tables]))[kind]
    response = jnp.asarray(np.stack([one for _, one in tables]))[kind]
    if variations.bad_columns:
        live &= ~_bad_columns(column_key, camera, variations.bad_columns)
    if variations.bad_pixels:
        live &= ~_bad_pixels(pixel_key, camera, variations.bad_pixels)
    number = ccd_number(camera)
    missed = jax.random.uniform(ccd_key, (int(number.max()) + 1,), maxval=variations.ccd_exposure)
    return live, response, (1.0 - missed)[number]


def _bad_columns(key: jax.Array, camera: Camera, most: int) -> jax.Array:
    number_key, column_key, half_key = jax.random.split(key, 3)
    rows, columns = camera.shape
    on = jnp.arange(most) < jax.random.randint(number_key, (), 0, most + 1)
    column = jax.random.randint(column_key, (most, 1, 1), 0, columns)
    upper = jax.random.bernoulli(half_key, shape=(most, 1, 1))
    here = np.arange(columns)[None, None, :] == column
    half = (np.arange(rows) > camera.half_rows[0])[None, :, None] == upper
    return jnp.any(here & half & on[:, None, None], axis=0)


def _bad_pixels(key: jax.Array, camera: Camera, most: int) -> jax.Array:
    number_key, place_key = jax.random.split(key)
    size = camera.shape[0] * camera.shape[1]
    on = jnp.arange(most) < jax.random.randint(number_key, (), 0, most + 1)
    place = jnp.where(on, jax.random.randint(place_key, (most,), 0, size), size)
    return jnp.zeros(size, bool).at[place].set(True, mode="drop").reshape(camera.shape)
