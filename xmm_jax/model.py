"""A trained model: the network, its weights, its units, in a folder that needs nothing else.

``<model>/settings.json``   format version, task, network, units, where it came from
``<model>/weights.npz``     float32 arrays named by their path in the weights
``<model>/card.md``         the same for people
"""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from xmm_jax import __version__
from xmm_jax.checkpoint import CONFIG, METRICS, restore_best
from xmm_jax.config import TASKS, NetworkConfig, from_json
from xmm_jax.data.folder import replacing
from xmm_jax.errors import InputError
from xmm_jax.log import read_metrics, validation_losses
from xmm_jax.models import NETWORKS, apply, build, init
from xmm_jax.models.stretch import COUNTS, Scale
from xmm_jax.optim import averaged_params, make_optimiser
from xmm_jax.step import Batch, init_state, predict

# Compiled once for a network and a shape, however many images follow.
_predict = jax.jit(predict, static_argnums=(0, 1))

FORMAT = 1
SETTINGS, WEIGHTS, CARD = "settings.json", "weights.npz", "card.md"


@dataclasses.dataclass(frozen=True)
class Model:
    """A network with weights; made by `load_model`.

    Attributes
    ----------
    task : str
        Name of the task, ``"sr"`` or ``"dn"``.
    network : flax module
        The graph.
    params : pytree
        Its weights.
    scale : Scale
        Clip rates, stretch, input channels, upscale.
    origin : dict
        What made it: run or file, step, settings, version.
    """

    task: str
    network: nn.Module
    params: Any
    scale: Scale
    origin: dict[str, Any]

    def apply(self, inputs: jax.Array) -> jax.Array:
        """Network units in and out: ``[b, y, x, c]`` -> ``[b, s*y, s*x, 1]`` in [0, 1]."""
        return apply(self.network, self.params, inputs)

    def predict(self, batch: Batch) -> jax.Array:
        """Rate [count/s/pixel] on the target grid, ``[b, s*y, s*x, 1]``, 0 where not valid.

        Parameters
        ----------
        batch : mapping of str to array
            ``counts`` [count], ``exposure`` [s], ``valid``, each ``[b, y, x, 1]``.
        """
        return _predict(self.network, self.scale, self.params, batch)


def make_network(task: str, config: NetworkConfig) -> tuple[nn.Module, Scale]:
    """Network and units of a task.

    Parameters
    ----------
    task : str
        Name of the task.
    config : NetworkConfig
        Size, channels, stretch, clip rates, precision.
    """
    upscale = TASKS[task].upscale
    network = build(
        config.network,
        size=config.size,
        upscale=upscale,
        in_channels=config.in_channels,
        remat=config.remat,
        dtype=jnp.bfloat16 if config.bfloat16 else None,
        unshuffle=config.unshuffle,
        end="positive" if config.stretch == COUNTS else "clamp",
        outputs=2 if config.spread else 1,
    )
    scale = Scale(
        stretch=config.stretch,
        clip_rate=config.clip_rate,
        target_clip_rate=config.target_clip_rate,
        in_channels=config.in_channels,
        upscale=upscale,
    )
    return network, scale


def load_model(path: str | Path) -> Model:
    """Model of a model folder, or the best weights of a run folder.

    Parameters
    ----------
    path : str or Path
        Folder written by `export` or `import_published`, or by `train`.

    Raises
    ------
    InputError
        If it is neither, or a file in it is missing, damaged or of another format version.
    """
    path = Path(path)
    if (path / SETTINGS).is_file():
        return _read_folder(path)
    if (path / CONFIG).is_file():
        return _from_run(path)
    raise InputError(f"{path}: neither a model folder ({SETTINGS}) nor a run folder ({CONFIG})")


def save_model(folder: str | Path, model: Model, *, extra: dict[str, bytes] | None = None) -> None:
    """Write a model folder: all of it or nothing.

    Parameters
    ----------
    folder : str or Path
        Replaced if it is a model folder.
    model : Model
        What to write.
    extra : dict of str to bytes, optional
        More files by name.

    Raises
    ------
    InputError
        If the folder exists and is something else.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / SETTINGS).is_file():
        raise InputError(f"{folder}: exists and is not a model folder; choose another --out")
    with replacing(folder.absolute(), overwrite=True, ours=SETTINGS) as partial:
        (partial / SETTINGS).write_text(json.dumps(_settings(model), indent=2) + "\n")
        arrays = flatten_dict(jax.device_get(model.params), sep="/")
        named = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        np.savez(partial / WEIGHTS, allow_pickle=False, **named)
        (partial / CARD).write_text(card(model))
        for name, content in (extra or {}).items():
            (partial / name).write_bytes(content)


def card(model: Model) -> str:
    """What a model is, for people: Markdown."""
    task, scale, network = TASKS[model.task], model.scale, _network_settings(model.network)
    size = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    background = "with" if task.target_background else "without"
    lines = [
        f"# xmm_jax model: {model.task}",
        "",
        "Input: EPIC-pn image, 0.5-2 keV, DETX/DETY, 4 arcsec pixels, counts and exposure [s]; "
        f"trained at {task.exposure_s / 1000:g} ks.",
        f"Output: count rate {background} background at {4 / task.upscale:g} arcsec pixels, as in "
        f"{task.target_exposure_s / 1000:g} ks.",
        "",
        f"- network: {network['name']}, {network['filters']} filters, {network['blocks']} blocks, "
        f"{scale.in_channels} input channels, {size:,} parameters",
        f"- units: {scale.stretch} stretch of the rate clipped at {scale.clip_rate:g} count/s per "
        f"input pixel and {scale.target_clip_rate:g} count/s per output pixel; brighter pixels "
        "saturate and are flagged in DQ",
        *(f"- {name}: {value}" for name, value in model.origin.items()),
        "",
        "Do not measure fluxes of single pixels on the output: it is an estimate without error "
        "bars. Go back to the counts for photometry.",
        "",
        "Method: Sweere et al. 2022, MNRAS 517, 4054. Weights: BSD-3 as the code.",
    ]
    return "\n".join(lines) + "\n"


def _network_settings(network: nn.Module) -> dict[str, Any]:
    described = ("filters", "blocks", "unshuffle", "end", "outputs")
    return {"name": "rrdb"} | {name: getattr(network, name) for name in described}


def _settings(model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "task": model.task,
        "network": _network_settings(model.network),
        "scale": dataclasses.asdict(model.scale),
        "origin": model.origin,
    }


def _read_folder(folder: Path) -> Model:
    try:
        settings = json.loads((folder / SETTINGS).read_text())
        if settings["format"] != FORMAT:
            raise InputError(
                f"{folder / SETTINGS}: model format {settings['format']}, expected {FORMAT}"
            )
        scale = Scale(**settings["scale"])
        described = dict(settings["network"])
        network = NETWORKS[described.pop("name")](
            **described, upscale=scale.upscale, in_channels=scale.in_channels
        )
        with (folder / WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            params = unflatten_dict({k: jnp.asarray(arrays[k]) for k in arrays.files}, sep="/")
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: missing from the model folder") from None
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder}: damaged model folder ({error})") from None
    return Model(settings["task"], network, params, scale, settings["origin"])


def _from_run(run: Path) -> Model:
    config = from_json(run / CONFIG)
    network, scale = make_network(config.task, config.network)
    params = init(jax.random.key(0), network, config.network.in_channels)
    state = init_state(params, make_optimiser(config.optim, steps=config.steps))
    wanted = {"params": state.params, "opt_state": state.opt_state}
    step, part = restore_best(run, validation_losses(run / METRICS), wanted)
    rows = [row for row in read_metrics(run / METRICS) if row["split"] == "validation"]
    figures = next((row for row in rows if row["step"] == step), {})
    origin = {
        "run": run.name,
        "step": step,
        "preset": config.preset,
        "loss": config.loss,
        "seed": config.seed,
        "version": __version__,
        "validation": {k: float(f"{v:.4g}") for k, v in figures.items() if "/" in k},
    }
    params = averaged_params(part["params"], part["opt_state"])
    return Model(config.task, network, params, scale, origin)
