"""The data contract: every field of a sample, its shape, type, unit and meaning.

A *sample* is one pair (input, target): a plain dict holding the fields of `FIELDS`. A *batch* is a
dict of the image fields with a leading axis ``b``, plus ``weight`` (float32, 0 for padding) and
``index`` (int64, number of the example). Images are ``[y, x, 1]``; ``s`` is the upscale of the
task (2 for ``sr``, 1 for ``dn``), the same along y and x. Types are the same in memory and on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xmm_jax.errors import InputError

# Raise this whenever a field changes its name, shape, type, unit or meaning: records of another
# version are refused.
SCHEMA_VERSION = 1

PAIRINGS = ("nested", "disjoint", "thinned", "simulated")
TARGET_KINDS = ("expected", "observed")


@dataclass(frozen=True)
class Field:
    """One row of the contract.

    Attributes
    ----------
    shape : tuple
        Axes in units of the frame: ``"y"``, ``"s*y"``, or a number.
    dtype : str
        numpy type, little-endian on disk; ``"str"`` is UTF-8.
    unit : str
        Empty where there is none.
    meaning : str
        One line.
    optional : bool
        Whether a sample may lack it; all samples of a folder have it or none.
    """

    shape: tuple[str | int, ...]
    dtype: str
    unit: str
    meaning: str
    optional: bool = False


INPUT = ("y", "x", 1)
TARGET = ("s*y", "s*x", 1)

# fmt: off
FIELDS: dict[str, Field] = {
    "counts":          Field(INPUT,  "int32",   "count",  "input: raw counts"),
    "exposure":        Field(INPUT,  "float32", "s",      "exposure per pixel, 0 where dead"),
    "valid":           Field(INPUT,  "bool",    "",       "True = use the pixel; needs exposure"),
    "target":          Field(TARGET, "float32", "count",  "expected or observed: target_kind"),
    "target_exposure": Field(TARGET, "float32", "s",      "exposure of the target, 0 where dead"),
    "target_valid":    Field(TARGET, "bool",    "",       "True = use the pixel; needs exposure"),
    "background":      Field(INPUT,  "float32", "count",  "expected background of the input", True),
    "source_id":       Field((),     "str",     "",       "what is on the sky: key of the splits"),
    "obs_id":          Field((),     "str",     "",       "observation or simulation it is from"),
    "camera":          Field((),     "str",     "",       "pn"),
    "filter":          Field((),     "str",     "",       "optical filter, e.g. thin"),
    "pairing":         Field((),     "str",     "",       "how input and target share photons"),
    "target_kind":     Field((),     "str",     "",       "expected (noise-free) or observed"),
    "band_kev":        Field((2,),   "float32", "keV",    "lower and upper energy"),
    "pixel_arcsec":    Field((),     "float32", "arcsec", "side of an input pixel"),
    "seed":            Field((),     "int64",   "",       "makes it again, if it was drawn"),
}
# fmt: on

IMAGES = tuple(name for name, field in FIELDS.items() if field.shape in (INPUT, TARGET))


def shape_of(name: str, *, frame: tuple[int, int], upscale: int) -> tuple[int, ...]:
    """Shape of a field for a given input frame.

    Parameters
    ----------
    name : str
        Key of `FIELDS`.
    frame : tuple of int
        Input frame (y, x) [pixel].
    upscale : int
        Target pixels per input pixel along one axis.

    Returns
    -------
    tuple of int
    """
    y, x = frame
    sizes = {"y": y, "x": x, "s*y": upscale * y, "s*x": upscale * x}
    return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in FIELDS[name].shape)


def frame_of(sample: Mapping[str, Any]) -> tuple[tuple[int, int], int]:
    """Input frame and upscale of a sample.

    Parameters
    ----------
    sample : mapping
        With ``counts`` and ``target``, of any shapes.

    Returns
    -------
    frame : tuple of int
        Input frame (y, x) [pixel].
    upscale : int
        Target pixels per input pixel along y, rounded down.
    """
    y, x = np.shape(sample["counts"])[:2]
    return (y, x), np.shape(sample["target"])[0] // max(y, 1)


def check(sample: Mapping[str, Any]) -> None:
    """Refuse a sample that breaks the contract.

    Parameters
    ----------
    sample : mapping
        Field name to array, string or number.

    Raises
    ------
    InputError
        Naming the sample, the field, and what the contract wants.
    """
    fault = _names(sample) or _types(sample) or _values(sample)
    if fault:
        name = f"{sample.get('source_id', '?')}, observation {sample.get('obs_id', '?')}"
        raise InputError(f"sample of source {name}: {fault}")


def _names(sample: Mapping[str, Any]) -> str:
    required = {name for name, field in FIELDS.items() if not field.optional}
    if missing := sorted(required - set(sample)):
        return f"lacks {', '.join(missing)}"
    if unknown := sorted(set(sample) - set(FIELDS)):
        return f"has unknown fields {', '.join(unknown)}"
    return ""


def _types(sample: Mapping[str, Any]) -> str:
    for name in ("counts", "target"):
        if np.ndim(sample[name]) != 3:
            return f"{name} has shape {np.shape(sample[name])}, expected (y, x, 1)"
    frame, upscale = frame_of(sample)
    for name in (name for name in FIELDS if name in sample):
        field, value = FIELDS[name], sample[name]
        if field.dtype == "str":
            if not isinstance(value, str) or not value:
                return f"{name} is {value!r}, expected text"
            continue
        expected = shape_of(name, frame=frame, upscale=upscale)
        if np.shape(value) != expected:
            return f"{name} has shape {np.shape(value)}, expected {expected}"
        # Numbers that are not images may be Python's own: only their kind must fit.
        kind = np.asarray(value).dtype
        exact = name in IMAGES
        if (exact and kind != field.dtype) or not np.can_cast(kind, field.dtype, "same_kind"):
            return f"{name} is {kind}, expected {field.dtype}"
    return ""


def _values(sample: Mapping[str, Any]) -> str:
    for name in (name for name in IMAGES if name in sample and FIELDS[name].dtype != "bool"):
        # Written so that NaN fails too.
        if not np.all((array := np.asarray(sample[name])) >= 0) or np.isinf(array).any():
            return f"{name} has negative or non-finite pixels"
    for valid, exposure in (("valid", "exposure"), ("target_valid", "target_exposure")):
        if not np.any(sample[valid]):
            return f"{valid} is False everywhere"
        if np.any(np.asarray(sample[valid]) & (np.asarray(sample[exposure]) == 0)):
            return f"{valid} is True where {exposure} is 0"
    for name, choices in (("pairing", PAIRINGS), ("target_kind", TARGET_KINDS)):
        if sample[name] not in choices:
            return f"{name} is {sample[name]!r}, expected one of {', '.join(choices)}"
    low, high = np.asarray(sample["band_kev"], np.float64)
    if not 0 <= low < high < np.inf:
        return f"band_kev is {low:g} to {high:g}, expected 0 <= lower < upper"
    if not 0 < float(sample["pixel_arcsec"]) < np.inf:
        return f"pixel_arcsec is {float(sample['pixel_arcsec']):g}, expected a positive number"
    return ""
