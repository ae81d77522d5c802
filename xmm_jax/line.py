"""What `train` asks of a task: a module with these functions, and what it learns with.

The training line itself (run folder, devices, checkpoints, validation, resuming) knows no task.
`xmm_jax.lines` says which module serves which; to add one, write a module like
`xmm_jax.counts_line` and add a line there.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax


class Learner(NamedTuple):
    """Network, loss and optimiser of a run, as pure functions.

    Attributes
    ----------
    start : callable
        State before the first update: a named tuple with ``step`` and ``params``, and whatever
        else changes.
    adopt : callable
        ``(state, folder)``: the same with the weights of another run or model.
    update : callable
        ``(state, batch)`` on one device -> the next state and ``{"loss": ..., ...}``, scalars;
        averaged over the axis ``"data"``.
    weights : callable
        Part of a state that is validated and used in the end.
    evaluate : callable
        ``(weights, batch)`` on one device -> sums of figures over images, ``loss`` among them, and
        ``weight``; averaged over the axis ``"data"``.
    """

    start: Callable[[], Any]
    adopt: Callable[[Any, str], Any]
    update: Callable[[Any, Any], tuple[Any, dict[str, jax.Array]]]
    weights: Callable[[Any], Any]
    evaluate: Callable[[Any, Any], dict[str, jax.Array]]


class Line(Protocol):
    """A module that serves one or several tasks."""

    @property
    def parse(self) -> Callable[..., Any]:
        """Command line -> settings, checked: a dataclass derived from `RunConfig`."""
        ...

    @property
    def read_config(self) -> Callable[[Path], Any]:
        """``config.json`` -> settings."""
        ...

    @property
    def learn(self) -> Callable[..., Learner]:
        """``(config, unroll=False)``: what it learns with; ``unroll``: without loops of XLA."""
        ...

    @property
    def find_data(self) -> Callable[[Any], str]:
        """Name of the examples of a run; makes them if need be."""
        ...

    @property
    def data_digest(self) -> Callable[[Any, str], str]:
        """``(config, data)``: by which the same examples are known."""
        ...

    @property
    def keep_data(self) -> Callable[[Any, Path, str], None]:
        """``(config, run, data)``: note in the run what it is made with, or refuse other data."""
        ...

    @property
    def training_batches(self) -> Callable[..., Generator[Mapping[str, Any], None, None]]:
        """``(config, data, start_step=...)``: batches of this process, without end."""
        ...

    @property
    def validation_batches(self) -> Callable[[Any, str], Iterator[Mapping[str, Any]]]:
        """``(config, data)``: batches of this process, each example once."""
        ...

    @property
    def batch_shapes(self) -> Callable[..., dict[str, jax.ShapeDtypeStruct]]:
        """``(config, lead)``: shapes and types of a batch with these axes before y and x."""
        ...

    @property
    def title(self) -> Callable[[Any], str]:
        """Task, network and size of an example in a few words."""
        ...

    @property
    def table(self) -> Callable[[int, Mapping[str, float]], str]:
        """``(step, means)``: what a validation found, for people."""
        ...

    @property
    def closing(self) -> Callable[[Path, Mapping[str, float]], tuple[str, str]]:
        """``(run, means of the best step)``: how good it is, and the command to go on with."""
        ...
