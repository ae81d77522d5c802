"""``python -m xmm_jax VERB ...`` and ``xmm-jax VERB ...``: hand over to that verb's ``main``."""

import importlib
import sys
from collections.abc import Sequence

import xmm_jax

VERBS = {
    "simulate": "draw simulated observations as FITS images",
    "image": "make images of EPIC-pn event lists, fetched by OBS_ID",
    "prepare": "turn simulations or FITS images into records for training",
    "train": "train a network",
    "sweep": "train every point of a grid of settings; sweep rank: say what came out",
    "evaluate": "judge networks beside classical methods",
    "export": "turn a run into a model folder",
    "enhance": "denoise or super-resolve FITS images",
    "import_published": "turn published weights (.ckpt, .onnx) into a model folder",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one verb; without one, list them; ``--version`` says which version this is."""
    args = list(sys.argv[1:] if argv is None else argv)
    asked = args[0] if args else "--help"
    verb = asked.replace("-", "_")
    if verb in VERBS:
        importlib.import_module(f"xmm_jax.{verb}").main(args[1:])
        return
    if asked == "--version":
        sys.stdout.write(f"{xmm_jax.__version__}\n")
        return
    verbs = "".join(f"  {name:<17} {text}\n" for name, text in VERBS.items())
    usage = f"usage: xmm-jax VERB [flags]; xmm-jax VERB --help; xmm-jax --version\n\n{verbs}"
    if asked in ("--help", "-h"):
        sys.stdout.write(usage)
        return
    sys.stderr.write(f"xmm-jax: error: no verb {asked!r}\n\n{usage}")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
