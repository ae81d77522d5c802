import hashlib
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from xmm_jax.simulator.repeatable import repeatable

# 193 rows of 384, which `jax.jit` shares among idle threads: two answers in 400 calls of four.
WAVES = jax.lax.complex(*jax.random.normal(jax.random.key(0), (2, 384, 193)))


def back(waves):
    return jnp.fft.ifft(waves, axis=0)


def test_a_transform_has_the_same_bits_however_busy_the_machine_is():
    program = repeatable(back)

    def digest(_):
        return hashlib.sha256(np.asarray(program(WAVES)).tobytes()).hexdigest()

    digest(0)
    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(digest, range(400)))) == 1


def test_options_of_jit_are_passed_on():
    program = repeatable(lambda waves, axis: jnp.fft.ifft(waves, axis=axis), static_argnames="axis")
    assert np.array_equal(program(WAVES, axis=0), repeatable(back)(WAVES))
