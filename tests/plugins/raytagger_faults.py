"""An encoder plugin in which some documents are fatal: the faults of the tests, injected the way a user's encoder
is. All other documents go through the real static encoder. Every text that is encoded is logged."""

import contextlib
import math
import os
import signal
import time

import numpy as np

from raytagger.encoders.encoder import Embedded, finish
from raytagger.encoders.static import StaticEncoder


class FaultyEncoder(StaticEncoder):
    """`RAISE` raises, `KILL` kills the process, `NAN` gives a vector that is not finite, `SLOW` takes a while.

    `GATED … 17` waits until the file RAYTAGGER_FAULT_GATE holds a larger number, or is not there.
    """

    def encode(self, texts, prompt=""):
        log = os.environ.get("RAYTAGGER_FAULT_LOG")
        if log:
            with open(log, "a") as file:
                file.write("".join(f"{text}\n" for text in texts))
        for text in texts:
            if "RAISE" in text:
                raise ValueError("the tokenizer does not like this text")
            if "KILL" in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if "SLOW" in text:
                time.sleep(0.03)
            while text.startswith("GATED") and int(text.rsplit(" ", 1)[1]) >= _opened():
                time.sleep(0.02)
        encoded = super().encode(texts, prompt)
        for row, text in enumerate(texts):
            if "NAN" in text:
                encoded.vector_BD[row] = np.nan
        return Embedded(finish(encoded.vector_BD, texts), encoded.cut_B)


class CountedEncoder(StaticEncoder):
    """Notes each time that it is loaded in the file RAYTAGGER_LOADS."""

    describe = staticmethod(StaticEncoder.describe)

    def __init__(self, settings, folder) -> None:
        super().__init__(settings, folder)
        with open(os.environ["RAYTAGGER_LOADS"], "a") as file:
            file.write("loaded\n")


def _opened():
    gate = os.environ.get("RAYTAGGER_FAULT_GATE", "")
    with contextlib.suppress(OSError, ValueError), open(gate) as file:
        return int(file.read())
    return math.inf if not os.path.exists(gate) else 0
