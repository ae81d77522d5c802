import functools
import itertools

import jax
import numpy as np
import pytest
import scipy.stats

from xmm_jax.data.augment import (
    Augment,
    Moves,
    check_augment,
    decide,
    decide_many,
    transform,
    transform_on_device,
)
from xmm_jax.errors import InputError

ALL_MOVES = [
    Moves(y, x, mirror_y, mirror_x, turns)
    for (y, x), mirror_y, mirror_x, turns in itertools.product(
        [(0, 0), (3, 1), (6, 4)], (False, True), (False, True), range(4)
    )
]


def _pair(frame=(12, 10), upscale=2):
    """Images of pixel numbers: every pixel of both grids is told from every other."""
    y, x = frame
    fine = np.arange(upscale * y * upscale * x, dtype=np.float32)
    return {
        "counts": np.arange(y * x, dtype=np.int32).reshape(y, x, 1),
        "valid": (np.arange(y * x) % 3 == 0).reshape(y, x, 1),
        "target": fine.reshape(upscale * y, upscale * x, 1),
    }


@pytest.mark.parametrize("upscale", [1, 2, 3])
@pytest.mark.parametrize("moves", ALL_MOVES)
def test_both_grids_stay_registered(upscale, moves):
    """A target pixel of the result lies inside the input pixel it lay inside before."""
    pair = _pair(upscale=upscale)
    result = transform(pair, moves, crop=6)
    assert result["counts"].shape == (6, 6, 1)
    assert result["target"].shape == (upscale * 6, upscale * 6, 1)
    fine = result["target"][..., 0].astype(int)
    row, column = fine // (upscale * 10), fine % (upscale * 10)
    parent = (row // upscale) * 10 + column // upscale
    expected = result["counts"][..., 0].repeat(upscale, 0).repeat(upscale, 1)
    np.testing.assert_array_equal(parent, expected)
    np.testing.assert_array_equal(result["valid"], result["counts"] % 3 == 0)


def test_each_move_by_hand():
    counts = _pair()["counts"]
    still = Moves(3, 1, mirror_y=False, mirror_x=False, turns=0)

    def corners(moves):
        image = transform({"counts": counts}, moves, crop=6)["counts"][..., 0]
        return image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]

    a, b, c, d = 31, 36, 81, 86  # rows 3 and 8, columns 1 and 6, of a frame 10 wide
    assert corners(still) == (a, b, c, d)
    assert corners(still._replace(mirror_y=True)) == (c, d, a, b)
    assert corners(still._replace(mirror_x=True)) == (b, a, d, c)
    assert corners(still._replace(turns=1)) == (b, d, a, c)
    assert corners(still._replace(turns=1, mirror_y=True)) == (a, c, b, d)


def test_whole_frame():
    pair = _pair()
    moves = decide(Augment(), seed=1, index=2, frame=(12, 10))
    assert moves == Moves(0, 0, mirror_y=False, mirror_x=False, turns=0)
    for name, image in transform(pair, moves).items():
        np.testing.assert_array_equal(image, pair[name])
    flipped = transform(pair, moves._replace(mirror_x=True))
    np.testing.assert_array_equal(flipped["target"], pair["target"][:, ::-1])


@pytest.mark.parametrize("crop", [0, 6])
def test_device_does_what_the_host_does(crop):
    pair = _pair(frame=(12, 12))
    moves = ALL_MOVES if crop else [m._replace(y=0, x=0) for m in ALL_MOVES]
    on_device = jax.jit(
        jax.vmap(
            functools.partial(
                transform_on_device, augment=Augment("random", True, True), crop=crop
            ),
            in_axes=(None, 0),
        )
    )
    results = on_device(pair, Moves(*np.array(moves, np.int32).T))
    for i, move in enumerate(moves):
        for name, image in transform(pair, move, crop=crop).items():
            np.testing.assert_array_equal(results[name][i], image, err_msg=f"{name} {move}")


def test_device_skips_what_is_not_asked_for():
    moves = Moves(1, 2, mirror_y=True, mirror_x=True, turns=3)
    result = transform_on_device(_pair(), moves, augment=Augment(), crop=6)
    expected = _pair()["target"][2:14, 4:16]
    np.testing.assert_array_equal(result["target"], expected)


def test_a_draw_depends_on_seed_and_index_alone():
    augment = Augment(flips=True, turns=True)
    draw = functools.partial(decide, augment, frame=(400, 300), crop=64)
    assert draw(seed=5, index=7) == draw(seed=5, index=7)
    moves = [draw(seed=seed, index=index) for seed in range(3) for index in range(50)]
    assert len({move[:2] for move in moves}) == len(moves)
    # The choice of crop does not disturb the other draws.
    plain = decide(augment, seed=5, index=7, frame=(400, 300))
    assert plain._replace(y=0, x=0) == draw(seed=5, index=7)._replace(y=0, x=0)


def test_draws_are_uniform():
    augment = Augment(flips=True, turns=True)
    many = decide_many(augment, seed=1, indices=np.arange(4000), frame=(12, 10), crop=6)
    assert all(column.shape == (4000,) for column in many)
    assert {column.dtype for column in many[:5]} == {np.dtype(np.int32)}
    expected_choices = (7, 5, 2, 2, 4)
    for column, choices in zip(many[:5], expected_choices, strict=True):
        seen = np.bincount(column, minlength=choices)
        assert len(seen) == choices
        # Pearson's chi-square: 99.99 % of uniform draws stay below 28 for up to 6 degrees.
        assert ((seen - 4000 / choices) ** 2 / (4000 / choices)).sum() < 28
    assert np.abs(np.corrcoef(np.array(many[:5], float)) - np.eye(5)).max() < 0.07


def test_many_draws_are_the_single_ones():
    augment = Augment(flips=True, turns=True)
    indices = np.array([3, 2**40, 0])
    many = decide_many(augment, seed=9, indices=indices, frame=(12, 10), crop=6)
    for row, index in enumerate(indices.tolist()):
        one = decide(augment, seed=9, index=index, frame=(12, 10), crop=6)
        assert tuple(column[row] for column in many) == one


def test_centre():
    moves = decide(Augment(position="center"), seed=0, index=0, frame=(416, 416), crop=104)
    assert moves[:2] == (156, 156)


@pytest.mark.parametrize(
    ("frame", "axis"),
    [
        ((411, 403), (243, 223)),  # optical axis of the published images (x, y), 0-based
        ((416, 416), (249, 225)),  # 6 columns and 2 rows were put before the frame
    ],
)
def test_boresight(frame, axis):
    image = np.zeros((*frame, 1), np.int32)
    image[axis[1], axis[0]] = 1
    moves = decide(Augment(position="boresight"), seed=0, index=0, frame=frame, crop=101)
    cut = transform({"counts": image}, moves, crop=101)["counts"]
    assert np.argwhere(cut[..., 0]).tolist() == [[50, 50]]
    # A crop too large to have it in the middle stays inside the frame.
    large = decide(Augment(position="boresight"), seed=0, index=0, frame=frame, crop=400)
    assert large[:2] == tuple(side - 400 for side in frame)


@pytest.mark.parametrize(
    ("augment", "frame", "crop", "message"),
    [
        (Augment(), (12, 10), 11, "crop of 11 pixels does not fit"),
        (Augment(), (12, 10), -1, "crop of -1 pixels does not fit"),
        (Augment(turns=True), (12, 10), 0, "turning needs square images"),
        (Augment(position="boresight"), (12, 10), 6, "the boresight of a frame"),
    ],
)
def test_refuses(augment, frame, crop, message):
    with pytest.raises(InputError, match=message):
        check_augment(augment, frame=frame, crop=crop)


def test_accepts():
    check_augment(Augment(turns=True), frame=(12, 10), crop=10)
    check_augment(Augment(position="boresight", turns=True), frame=(416, 416), crop=0)


def test_thinned_inputs_are_shorter_observations():
    """Kept photons are Poisson counts of the kept exposure (Kingman 1993, 5.1)."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(6.0, (300, 200, 1)).astype(np.int32)
    images = {"counts": counts, "exposure": np.full(counts.shape, 1e5, np.float32)}
    augment = Augment(thin=0.05)
    for index in range(3):
        moves = decide(augment, seed=1, index=index, frame=(300, 200))
        kept = transform(images, moves)
        assert (kept["counts"] <= counts).all()
        assert kept["counts"].dtype == np.int32
        np.testing.assert_allclose(kept["exposure"], 1e5 * moves.share, rtol=1e-6)
        expected = 6.0 * moves.share
        error = np.sqrt(expected / counts.size)
        assert abs(kept["counts"].mean() - expected) < 4 * error
        assert abs(kept["counts"].var() / expected - 1) < 0.05
        again = transform(images, decide(augment, seed=1, index=index, frame=(300, 200)))
        np.testing.assert_array_equal(again["counts"], kept["counts"])


def test_shares_are_spread_over_the_logarithm_and_change_no_other_move():
    plain, thinned = Augment(flips=True), Augment(flips=True, thin=0.05)
    both = [
        [decide(kind, seed=3, index=index, frame=(20, 30), crop=8) for index in range(400)]
        for kind in (plain, thinned)
    ]
    assert [move[:5] for move in both[0]] == [move[:5] for move in both[1]]
    assert {move.share for move in both[0]} == {1.0}
    logarithms = np.log([move.share for move in both[1]]) / np.log(0.05)
    assert scipy.stats.kstest(logarithms, "uniform").pvalue > 1e-3


def test_thinning_on_the_device_follows_the_same_law():
    counts = np.random.default_rng(0).poisson(6.0, (4, 60, 50, 1)).astype(np.int32)
    images = {"counts": counts, "exposure": np.full(counts.shape, 1e5, np.float32)}
    augment = Augment(thin=0.05)
    moves = decide_many(augment, seed=1, indices=np.arange(4), frame=(60, 50))
    move = jax.jit(jax.vmap(functools.partial(transform_on_device, augment=augment)))
    kept = move(images, moves)
    assert kept["counts"].dtype == counts.dtype
    assert (kept["counts"] <= counts).all()
    share = moves.share[:, None, None, None]
    np.testing.assert_allclose(kept["exposure"], np.broadcast_to(1e5 * share, counts.shape))
    expected = 6.0 * moves.share
    means = kept["counts"].mean(axis=(1, 2, 3))
    np.testing.assert_array_less(abs(means - expected), 4 * np.sqrt(expected / counts[0].size))


def test_a_share_beyond_one_is_refused():
    with pytest.raises(InputError, match="thin is a share"):
        check_augment(Augment(thin=1.5), frame=(10, 10), crop=0)
