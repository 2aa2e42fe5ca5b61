"""8-bit variants of a float32 TFLite file; its inputs, outputs and norms stay float32."""

import os
import warnings
from typing import TYPE_CHECKING

from ._graph import quiet_tensorflow

if TYPE_CHECKING:
    from ._calibration import Calibration


def quantized(content: bytes, variant: str, calibration: "Calibration | None") -> bytes:
    """Return the file with its convolutions and dense layers in 8 bits.

    "dynamic_int8" rounds activations as they come, "static_int8" in ranges that the calibration showed.

    Raises:
        UserError: there is neither a convolution nor a dense layer.
    """
    from ai_edge_quantizer import qtyping, quantizer

    names = qtyping.TFLOperationName
    work = quantizer.Quantizer(content)
    # The norms stay in float: a decomposed instance norm of rounded numbers loses several dB.
    for name in (names.CONV_2D, names.CONV_2D_TRANSPOSE, names.DEPTHWISE_CONV_2D, names.FULLY_CONNECTED):
        if variant == "dynamic_int8":
            work.add_dynamic_config(".*", name, num_bits=8)
        else:
            work.add_static_config(".*", name, activation_num_bits=8, weight_num_bits=8)
    with quiet_tensorflow(), warnings.catch_warnings():
        # That it keeps all tensors for a look at them is what calibration wants.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
        ranges = None
        if calibration is not None:
            data = {"serving_default": calibration.examples}
            ranges = work.calibrate(data, num_threads=os.cpu_count() or 1)
        result = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
    return bytes(result)
