"""Weights in an ONNX file of a published network; the package onnx is an extra."""

from pathlib import Path

import numpy as np

from xmm_jax.errors import InputError


def read_onnx(path: Path) -> dict[str, np.ndarray]:
    """Weights of the convolutions of an ONNX graph, under the names of the published checkpoints.

    Names in ONNX files depend on the exporter; the order of the convolutions does not, since each
    needs the one before it.

    Parameters
    ----------
    path : Path
        ONNX file.

    Returns
    -------
    dict of str to ndarray
        As `xmm_jax.models.published.from_state_dict` takes them.

    Raises
    ------
    InputError
        If the package onnx is absent, the file is missing or damaged, or holds another network.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    except ImportError:
        raise InputError(f"{path}: needs the package onnx; pip install 'xmm-jax[onnx]'") from None
    try:
        graph = onnx.load(path, load_external_data=False).graph
        arrays = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in graph.initializer
            if tensor.data_location != onnx.TensorProto.EXTERNAL
        }
        convolutions = [
            [arrays[name] for name in node.input[1:]]
            for node in graph.node
            if node.op_type == "Conv"
        ]
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the name"
        ) from None
    except KeyError as error:
        raise InputError(
            f"{path}: weights {error} of a convolution are not in the file; fetch it again"
        ) from None
    except (DecodeError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: damaged, or not an ONNX file ({error}); fetch it again"
        ) from None
    # 15 convolutions a block, 3 around the trunk, 2 more where pixels get finer.
    blocks, others = divmod(len(convolutions) - 3, 15)
    if blocks < 1 or others not in (0, 2) or any(len(pair) != 2 for pair in convolutions):
        raise InputError(
            f"{path}: {len(convolutions)} convolutions, not those of a published network; "
            "give one of these"
        )
    return {
        f"{layer}.{part}": array
        for layer, pair in zip(_layers(blocks, fine=others == 2), convolutions, strict=True)
        for part, array in zip(("weight", "bias"), pair, strict=True)
    }


def _layers(blocks: int, *, fine: bool) -> list[str]:
    """Published names of the convolutions in the order in which they are applied."""
    trunk = [
        f"RRDB_trunk.{block}.RDB{dense}.conv{number}"
        for block in range(blocks)
        for dense in (1, 2, 3)
        for number in (1, 2, 3, 4, 5)
    ]
    head = ["upsampling.0", "HRconv"] if fine else []
    return ["conv_first", *trunk, "trunk_conv", *head, "conv_last"]
