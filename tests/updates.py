"""Updates of a learner, without the training line around them."""

import jax

from xmm_jax.parallel import make_mesh, place_batch, place_state, spread


def steps(learner, number, *, batch, devices=1, kind="pmap", state=None):
    """State and figures after some updates on one batch."""
    mesh = make_mesh(devices)
    step = spread(learner.update, mesh, kind=kind)
    state = place_state(learner.start() if state is None else state, mesh)
    rows = []
    for _ in range(number):
        state, out = step(state, place_batch(batch, mesh, kind=kind))
        rows.append({name: float(value) for name, value in out.items()})
    return jax.device_get(state), rows
