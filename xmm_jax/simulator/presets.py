"""The two kinds of simulation: `reference` repeats the published files, `physical` the real sky.

Their constants differ by factors of up to 3 and belong together: never mix them.
"""

from dataclasses import dataclass

from xmm_jax.errors import InputError


@dataclass(frozen=True)
class Preset:
    """Constants of one kind of simulation.

    Attributes
    ----------
    name : str
        Name, also the key of the background and the population of point sources.
    ecf : float
        On-axis counts per flux in 0.5-2 keV [count cm2 / erg].
    absorption_max : float
        Largest factor by which absorption dims the point sources of a field.
    sources, stamps : int, int
        Slots for point sources; how many of the brightest get an exact image.
    brightness : tuple of float
        Range of the brightness of the extended source in background sigmas of 50 ks.
    log_brightness : bool
        Brightness is log-uniform in its range; otherwise uniform.
    zoom : tuple of float
        Range of the enlargement of the extended source, uniform.
    kernel_half_width, rank : int, int
        Kernels of 2 half_width + 1 pixels a side; number of common kernels.
    core_scale : float
        Factor on the core radius of the PSF.
    detector_effects : bool
        Out-of-time events and weak columns.
    """

    name: str
    ecf: float
    absorption_max: float
    sources: int
    stamps: int
    brightness: tuple[float, float]
    log_brightness: bool
    zoom: tuple[float, float]
    kernel_half_width: int
    rank: int
    core_scale: float
    detector_effects: bool


PRESETS = {
    # Sweere et al. 2022 (MNRAS 517, 4054), section 2.2 and appendix B. The counts per flux are
    # 41 % above those of the band because their simulation kept photons of all energies.
    "reference": Preset(
        name="reference",
        ecf=9.8e11,
        absorption_max=100.0,
        sources=96,
        stamps=96,
        brightness=(5.0, 50.0),
        log_brightness=False,
        zoom=(1.0, 2.0),
        kernel_half_width=15,
        rank=6,
        core_scale=1.0,
        detector_effects=False,
    ),
    # Counts per flux: EPIC-pn, thin filter, photon index 1.7 to 2, 3 to 4e20 cm-2 (method of
    # Mateos et al. 2009, A&A 496, 879). Brightness: public images of 2000 to 2018 reach from blank
    # to 950 (Perseus).
    "physical": Preset(
        name="physical",
        ecf=6.9e11,
        absorption_max=30.0,
        sources=640,
        stamps=128,
        brightness=(1.0, 1000.0),
        log_brightness=True,
        zoom=(1.0, 1.0),
        kernel_half_width=31,
        rank=6,
        core_scale=0.9,
        detector_effects=True,
    ),
}


def find_preset(name: str) -> Preset:
    """Preset of a name.

    Parameters
    ----------
    name : str
        ``"reference"`` or ``"physical"``.

    Returns
    -------
    Preset
        Its constants.

    Raises
    ------
    InputError
        For any other name.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r} is unknown; choose from {', '.join(PRESETS)}")
    return PRESETS[name]
