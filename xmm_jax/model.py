"""A trained model: the network, its weights, its units, in a folder that needs nothing else.

``<model>/settings.json``    format version, task, network, units, where it came from, scores
``<model>/weights.npz``      float32 or float16 arrays named by their path in the weights
``<model>/intervals.json``   error bars of pixels, if the network says how sure it is
``<model>/apertures.json``   error bars of counts within 15"
``<model>/card.md``          the same for people

Models that come with the package lie in ``xmm_jax/weights/<task>``; their name is that of the task.
"""

import dataclasses
import functools
import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from xmm_jax import __version__
from xmm_jax.card import card
from xmm_jax.checkpoint import CONFIG, METRICS
from xmm_jax.config import TASKS, Config, NetworkConfig
from xmm_jax.config_file import read_json
from xmm_jax.data.folder import replacing
from xmm_jax.data.manifest import FILE as MANIFEST
from xmm_jax.data.manifest import read_manifest
from xmm_jax.domain import Domain, from_dict
from xmm_jax.errors import InputError
from xmm_jax.log import read_metrics
from xmm_jax.models import NETWORKS, Network, apply, build, describe, init, own_settings
from xmm_jax.models.intervals import Intervals
from xmm_jax.models.srflow import SRFlow
from xmm_jax.models.stretch import COUNTS, Scale, to_inputs
from xmm_jax.presets import read_config
from xmm_jax.step import Batch, predict, respond, seen_rate
from xmm_jax.trained import restore_weights

# The exposure of the published networks.
PUBLISHED = Domain((20_000.0, 20_000.0))
# Compiled once for a network and a shape, however many images follow.
_predict = jax.jit(predict, static_argnums=(0, 1), static_argnames=("symmetric",))
_respond = jax.jit(respond, static_argnums=(0, 1), static_argnames=("symmetric",))

NO_FLOW = "the model knows one image only: samples need a flow, trained with --preset=flow"


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample(
    network: SRFlow, scale: Scale, key: jax.Array, params: Any, batch: Batch, temperature: float
) -> jax.Array:
    inputs = to_inputs(scale, batch["counts"], batch["exposure"], batch["valid"])
    return seen_rate(scale, network.sample(key, params, inputs, temperature), batch)


FORMAT = 1
SETTINGS, WEIGHTS, CARD = "settings.json", "weights.npz", "card.md"
ERRORS = {"intervals": "intervals.json", "apertures": "apertures.json"}


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
    domain : Domain
        What its training set was like.
    symmetric : bool
        Answer with the mean over the four mirror images.
    intervals, apertures : Intervals or None
        Calibration of its error bars, of pixels and of counts within 15" (`xmm_jax.calibrate`).
    scores : dict
        Set of fields -> method -> figure -> value, for the card.
    """

    task: str
    network: Network
    params: Any
    scale: Scale
    origin: dict[str, Any]
    domain: Domain = PUBLISHED
    symmetric: bool = False
    intervals: Intervals | None = None
    apertures: Intervals | None = None
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)

    def apply(self, inputs: jax.Array) -> jax.Array:
        """Outputs for inputs, network units: ``[b, y, x, c]`` -> ``[b, s*y, s*x, 1]``."""
        return apply(self.network, self.params, inputs)

    def predict(self, batch: Batch) -> jax.Array:
        """Rate [count/s/pixel] on the target grid, ``[b, s*y, s*x, 1]``, 0 where not valid.

        Parameters
        ----------
        batch : mapping of str to array
            ``counts`` [count], ``exposure`` [s], ``valid``, each ``[b, y, x, 1]``.
        """
        return _predict(self.network, self.scale, self.params, batch, symmetric=self.symmetric)

    def sample(self, key: jax.Array, batch: Batch, temperature: float = 0.8) -> jax.Array:
        """One of the skies that fit a batch [count/s/pixel], as `predict`; only a flow knows them.

        Parameters
        ----------
        key : array
            Random key.
        batch : mapping of str to array
            As for `predict`.
        temperature : float
            0 always gives the same image, 1 draws from the density learned.

        Raises
        ------
        InputError
            If the network is no flow.
        """
        if not isinstance(self.network, SRFlow):
            raise InputError(NO_FLOW)
        return _sample(self.network, self.scale, key, self.params, batch, temperature)

    def respond(self, batch: Batch) -> jax.Array:
        """Network units, ``[b, s*y, s*x, outputs]``: the image, and the logarithm of its width.

        Parameters
        ----------
        batch : mapping of str to array
            As for `predict`.
        """
        return _respond(self.network, self.scale, self.params, batch, symmetric=self.symmetric)


def make_network(task: str, config: NetworkConfig) -> tuple[Network, Scale]:
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
        filters=config.filters,
        blocks=config.blocks,
        upscale=upscale,
        in_channels=config.in_channels,
        remat=config.remat,
        dtype=jnp.bfloat16 if config.bfloat16 else None,
        **_own_settings(config),
    )
    scale = Scale(
        stretch=config.stretch,
        clip_rate=config.clip_rate,
        target_clip_rate=config.target_clip_rate,
        in_channels=config.in_channels,
        upscale=upscale,
    )
    return network, scale


def _own_settings(config: NetworkConfig) -> dict[str, Any]:
    # What follows from units and loss, and what is a setting by the same name.
    known = dataclasses.asdict(config) | {
        "end": "positive" if config.stretch == COUNTS else "clamp",
        "outputs": 2 if config.spread else 1,
    }
    names = own_settings(config.network) if config.network in NETWORKS else []
    return {name: known[name] for name in names if name in known}


def load_model(path: str | Path) -> Model:
    """Model of a model folder, the best weights of a run folder, or one that comes with us.

    Parameters
    ----------
    path : str or Path
        Folder written by `export` or `import_published`, or by `train`; or ``sr`` or ``dn``.

    Raises
    ------
    InputError
        If it is neither, or a file in it is missing, damaged or of another format version.
    """
    if str(path) in TASKS and not Path(path).exists():
        path = shipped(str(path))
    path = Path(path)
    if (path / SETTINGS).is_file():
        return _read_folder(path)
    if (path / CONFIG).is_file():
        return _from_run(path)
    raise InputError(
        f"{path}: neither a model folder ({SETTINGS}) nor a run folder ({CONFIG}); check the name"
    )


def shipped(task: str) -> Path:
    """Folder of the model that comes with the package."""
    return Path(__file__).parent / "weights" / task


def save_model(
    folder: str | Path, model: Model, *, extra: dict[str, bytes] | None = None, half: bool = False
) -> None:
    """Write a model folder: all of it or nothing.

    Parameters
    ----------
    folder : str or Path
        Replaced if it is a model folder.
    model : Model
        What to write.
    extra : dict of str to bytes, optional
        More files by name.
    half : bool
        Weights as float16: half the size, three digits.

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
        kind = np.float16 if half else np.float32
        named = {name: np.asarray(array, kind) for name, array in arrays.items()}
        np.savez(partial / WEIGHTS, allow_pickle=False, **named)
        for name, file in ERRORS.items():
            if (law := getattr(model, name)) is not None:
                (partial / file).write_text(law.to_json())
        (partial / CARD).write_text(card(model))
        for name, content in (extra or {}).items():
            (partial / name).write_bytes(content)


def _settings(model: Model) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "task": model.task,
        "network": describe(model.network),
        "scale": dataclasses.asdict(model.scale),
        "domain": dataclasses.asdict(model.domain),
        "symmetric": model.symmetric,
        "origin": model.origin,
        "scores": model.scores,
    }


def _read_folder(folder: Path) -> Model:
    try:
        settings = json.loads((folder / SETTINGS).read_text())
        if settings["format"] != FORMAT:
            raise InputError(
                f"{folder / SETTINGS}: model format {settings['format']}, expected {FORMAT}; "
                "export the run again with this version"
            )
        scale = Scale(**settings["scale"])
        described = dict(settings["network"])
        network = NETWORKS[described.pop("name")](
            **described, upscale=scale.upscale, in_channels=scale.in_channels
        )
        with (folder / WEIGHTS).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            named = {k: jnp.asarray(arrays[k], jnp.float32) for k in arrays.files}
        task = settings["task"]
        # Folders written before this was kept are of the exposure of their task.
        usual = {"exposure_s": [TASKS[task].exposure_s] * 2}
        laws = {
            name: Intervals.from_json((folder / file).read_text(), name=str(folder / file))
            for name, file in ERRORS.items()
            if (folder / file).is_file()
        }
        return Model(
            task,
            network,
            unflatten_dict(named, sep="/"),
            scale,
            settings["origin"],
            domain=from_dict(settings.get("domain", usual)),
            symmetric=settings.get("symmetric", False),
            scores=settings.get("scores", {}),
            **laws,
        )
    except FileNotFoundError as error:
        raise InputError(
            f"{error.filename}: missing from the model folder; copy the folder or export again"
        ) from None
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{folder}: damaged model folder ({error}); copy the folder or export again"
        ) from None


def _from_run(run: Path) -> Model:
    if (task := read_json(run / CONFIG).get("task")) not in TASKS:
        raise InputError(f"{run}: made with --task={task}; give that flag here too")
    config = read_config(run / CONFIG)
    network, scale = make_network(config.task, config.network)
    params = init(jax.random.key(0), network, config.network.in_channels)
    step, part = restore_weights(run, config, {"params": params})
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
    domain = Domain(_exposures(run, config))
    return Model(config.task, network, part["params"], scale, origin, domain)


def _exposures(run: Path, config: Config) -> tuple[float, float]:
    """Least and greatest exposure of the inputs of a run [s]."""
    stated = config.simulated.exposure_ks
    if (run / MANIFEST).exists():
        stated = read_manifest(run).settings.get("exposure_ks", 0)
    ends = [1e3 * float(end) for end in str(stated or 0).split("-")]
    low, high = (ends[0], ends[-1]) if ends[-1] else (TASKS[config.task].exposure_s,) * 2
    return low * (config.thin or 1.0), high
