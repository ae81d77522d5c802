import jax.numpy as jnp
import pytest

from xmm_jax.simulator import families
from xmm_jax.simulator.frame import Frame


@pytest.fixture(scope="session")
def recipe_with():
    """Recipe of given features and numbers; the others are off or at their lowest."""

    def make(*features, **numbers):
        common = {name: jnp.float32(row[1]) for name, row in families.RANGES.items()}
        changed = {name: jnp.float32(value) for name, value in numbers.items()}
        has = {name: jnp.float32(name in features) for name in families.CHANCES}
        return families.Recipe(jnp.int32(0), common | changed, has)

    return make


@pytest.fixture(scope="session")
def plain_frame():
    """Frame on the optical axis of EPIC-pn, neither turned nor flattened nor enlarged."""
    return Frame(jnp.float32([243.0, 223.0]), *map(jnp.float32, (0.0, 1.0, 1.0, 1.0)))
