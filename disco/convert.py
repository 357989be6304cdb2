"""The published weights as an objective of this project. Layouts of arrays change, and nothing else."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metaobj.common.errors import UserError
from metaobj.common.types import PyTree
from metaobj.disco.objective import Disco, DiscoConfig

PUBLISHED = "dac840a15b81e8805326363458c33979626172618f620d9e6e170315388530aa"
"""SHA-256 of `disco_103.npz` in google-deepmind/disco_rl, commit 9059a29."""
_LIFE = "lstm/~/meta_lstm/~unroll/"


def convert(path: str | Path) -> tuple[PyTree, str]:
    """Weights eta, and the checksum of the file that they are from.

    Raises:
        UserError: it cannot be read, or an array is missing, of another shape, or not finite.
    """
    path = Path(path)
    try:
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # of many kinds, by where it is damaged
        raise UserError(f"{path}: is not an archive of arrays, or is damaged") from error
    return nested(arrays, str(path)), checksum


def nested(arrays: Mapping[str, np.ndarray], where: str) -> PyTree:
    """The published names and layouts as `Disco` has them."""
    left = set(arrays)

    def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in arrays:
            raise UserError(f"{where}: its array {name} is missing")
        left.discard(name)
        array = np.asarray(arrays[name])
        if array.shape != shape:
            raise UserError(f"{where}: the shape of its array {name} is {list(array.shape)}; must be {list(shape)}")
        if not (np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all()):
            raise UserError(f"{where}: its array {name} holds what is not a finite number")
        return array.astype(np.float32)

    def layer(name: str, inputs: int, outputs: int, width: int = 0) -> PyTree:
        kernel = take(f"{name}/w", (width, inputs, outputs) if width else (inputs, outputs))
        return {"kernel": kernel.reshape(inputs, outputs), "bias": take(f"{name}/b", (outputs,))}

    def lstm(name: str, inputs: int, units: int) -> PyTree:
        """Gates i, g, f, o of one matrix, whose forget gate has 1 added, as i, f, o, g with that in the bias."""
        joined = layer(f"{name}/linear", inputs + units, 4 * units)

        def ordered(x: np.ndarray) -> np.ndarray:
            i, g, f, o = np.split(x, 4, -1)
            return np.concatenate([i, f, o, g], -1)

        bias = ordered(joined["bias"])
        bias[units : 2 * units] += 1.0
        kernel = ordered(joined["kernel"])
        return {"input": kernel[:inputs], "recurrent": kernel[inputs:], "bias": bias}

    def reader(at: str, c: DiscoConfig) -> PyTree:
        def scalar(name: str) -> PyTree:
            first, second = (f"{at}{name}/~/linear_{number}" for number in (0, 1))
            return {"hidden": layer(first, c.categories, c.hidden), "output": layer(second, c.hidden, 1)}

        blocks = f"{at}sequential/conv1_d"
        actions = {"hidden": layer(blocks, 18, c.hidden, 1), "output": layer(f"{blocks}_1", 2 * c.hidden, 2, 1)}
        return {"y": scalar("mlp"), "z": scalar("mlp_1"), "actions": actions}

    c = Disco().config
    eta = {
        "reader": reader("lstm/", c),
        "lstm": lstm("lstm/lstm", 27, c.units),
        "gate": layer("lstm/linear", c.life_units, c.units),
        "embedding": layer("lstm/linear_1", c.units, 1),
        "y_hat": layer("lstm/linear_2", c.units, c.categories),
        "z_hat": layer("lstm/linear_3", c.units, c.categories),
        "policy": {
            "hidden": layer("lstm/sequential_1/conv1_d", 2 * (c.units + 2), c.hidden, 1),
            "output": layer("lstm/linear_4", c.hidden, 1),
        },
        "life": {
            "reader": reader(_LIFE, c),
            "input": layer(f"{_LIFE}mlp_2/~/linear_0", 29, c.hidden),
            "lstm": lstm(f"{_LIFE}lstm", c.hidden, c.life_units),
        },
    }
    if left:
        raise UserError(f"{where}: its array {min(left)} is none of Disco103's")
    return eta


CARD = {
    "title": "Disco103",
    "authors": "Oh, Farquhar, Kemaev et al., Google DeepMind",
    "paper": "Discovering state-of-the-art reinforcement learning algorithms, Nature 648, 2025, "
    "doi 10.1038/s41586-025-09761-x",
    "source": "disco_103.npz of github.com/google-deepmind/disco_rl, commit 9059a29, Copyright 2025 Google LLC",
    "licence": "The project's page puts the code with the meta-parameters of Disco103 under Apache 2.0; its README "
    "puts software under Apache 2.0 and all other materials under CC-BY 4.0. The paper mentions a pending patent.",
    "trained_on": "103 environments of Atari, ProcGen and DMLab-30; not those named in this file, by which settings "
    "are tuned where a comparison asks for training environments",
    "changes": "Layouts of arrays: convolutions of width 1 as matrices, gates of LSTMs in another order, the 1 that is "
    "added to forget gates as a part of their biases.",
}
"""Of the published weights."""
