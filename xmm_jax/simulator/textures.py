"""Structure without a centre: turbulence, filaments, and overlapping leaves."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from xmm_jax.instrument.camera import Camera
from xmm_jax.simulator.frame import Frame, cut_patches

LEAVES = 48
LEAF_HALF_WIDTH = 32  # [sky pixel]


def draw_fields(
    key: jax.Array, size: int, pixel_arcsec: float, slope: jax.Array, outer_arcsec: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Two independent Gaussian random fields with a power-law spectrum.

    Parameters
    ----------
    key : array
        Random key.
    size : int
        Side of the canvas [pixel].
    pixel_arcsec : float
        Side of a pixel [arcsec].
    slope : array
        Power falls as k to the minus this.
    outer_arcsec : array
        Outer scale [arcsec]; the power is flat beyond it, and cut at 3 arcsec.

    Returns
    -------
    first, second : array
        [y, x], mean 0, variance 1, periodic.
    """
    wave = np.fft.fftfreq(size, pixel_arcsec).astype(np.float32)
    square = np.square(wave)[:, None] + np.square(wave)[None, :]
    amplitude = jnp.power(square + 1.0 / outer_arcsec**2, -slope / 4.0) * np.exp(-4.5 * square)
    noise = jax.lax.complex(*jax.random.normal(key, (2, size, size)))
    # Real and imaginary part of the transform of complex noise are independent fields.
    both = jnp.fft.ifft2(amplitude.at[0, 0].set(0.0) * noise)
    first, second = jnp.real(both), jnp.imag(both)
    return _unit(first), _unit(second)


def _unit(field: jax.Array) -> jax.Array:
    return field / jnp.sqrt(jnp.mean(jnp.square(field)))


def lognormal(field: jax.Array, strength: jax.Array) -> jax.Array:
    """Turbulence: a factor of mean 1.

    Parameters
    ----------
    field : array
        Gaussian random field of variance 1 [1].
    strength : array
        Standard deviation of the logarithm.

    Returns
    -------
    array
        Factor, same shape.
    """
    return jnp.exp(strength * field - 0.5 * strength * strength)


def ridges(
    key: jax.Array, field: jax.Array, width: jax.Array, warp_arcsec: jax.Array, pixel_arcsec: float
) -> jax.Array:
    """Filaments: bright where a field, bent by smooth waves, changes sign.

    Parameters
    ----------
    key : array
        Random key.
    field : array
        Gaussian random field of variance 1 [y, x], periodic.
    width : array
        Value of the field at which the filaments have faded by a factor e.
    warp_arcsec : array
        Amplitude of the waves [arcsec].
    pixel_arcsec : float
        Side of a pixel [arcsec].

    Returns
    -------
    array
        Factor between 0.1 and 1 [y, x].
    """
    size = field.shape[0]
    wave_key, phase_key = jax.random.split(key)
    # Whole waves across the canvas keep the bent field periodic; more than two would fold it and
    # repeat its pattern mirrored.
    waves = jax.random.randint(wave_key, (4, 2), -2, 3).astype(jnp.float32)
    phase = jax.random.uniform(phase_key, (4,), maxval=2.0 * np.pi)
    index = np.arange(size, dtype=np.float32)
    turns = (2.0 * np.pi / size) * index
    shift = [
        jnp.sin(waves[i, 0] * turns[:, None] + (waves[i, 1] * turns + phase[i])[None, :])
        for i in range(4)
    ]
    reach = warp_arcsec / pixel_arcsec / np.sqrt(2.0)
    row = index[:, None] + reach * (shift[0] + shift[1])
    column = index[None, :] + reach * (shift[2] + shift[3])
    bent = map_coordinates(field, [row, column], order=1, mode="wrap")
    return 0.1 + 0.9 * jnp.exp(-jnp.abs(bent) / width)


def leaves(key: jax.Array, frame: Frame, camera: Camera, size: int) -> jax.Array:
    """Ellipses of random brightness lying over one another, small ones most often.

    Parameters
    ----------
    key : array
        Random key.
    frame : Frame
        Frame of the source.
    camera : Camera
        The camera.
    size : int
        Side of the canvas [sky pixel].

    Returns
    -------
    array
        Factor [y, x], 1 where no leaf lies. Dead leaves model with sizes of density r^-3 (Lee,
        Mumford & Huang 2001, IJCV 41, 35), a control against smooth shapes only.
    """
    place_key, size_key, value_key = jax.random.split(key, 3)
    x, y = 70.0 * jax.random.normal(place_key, (2, LEAVES))
    radius, ratio, turn = jax.random.uniform(size_key, (3, LEAVES))
    low, high = 6.0, 50.0
    radius = low / jnp.sqrt(1.0 - radius * (1.0 - (low / high) ** 2))
    patches = cut_patches(frame, camera, x, y, LEAF_HALF_WIDTH)
    cos, sin = (trig(np.pi * turn)[:, None, None] for trig in (jnp.cos, jnp.sin))
    along, across = cos * patches.x + sin * patches.y, cos * patches.y - sin * patches.x
    across = across / (0.4 + 0.6 * ratio)[:, None, None]
    inside = jnp.square(along) + jnp.square(across) < jnp.square(radius)[:, None, None]
    inside &= patches.taper > 0
    order = jnp.where(inside, jnp.arange(1, LEAVES + 1)[:, None, None], 0)

    step = np.arange(-LEAF_HALF_WIDTH, LEAF_HALF_WIDTH + 1)
    rows = patches.row[:, None, None] + step[None, :, None]
    columns = patches.column[:, None, None] + step[None, None, :]
    # A negative index would count from the far side; an index past the end is dropped.
    rows, columns = (jnp.where(index < 0, size, index) for index in (rows, columns))
    top = jnp.zeros((size, size), jnp.int32).at[rows, columns].max(order, mode="drop")
    value = jnp.exp(0.8 * jax.random.normal(value_key, (LEAVES + 1,))).at[0].set(1.0)
    return value[top]
