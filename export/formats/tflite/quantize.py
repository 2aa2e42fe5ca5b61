"""Variants of a float32 TFLite file with rounded weights; its inputs, outputs and norms stay float32."""

import os
import warnings
from typing import TYPE_CHECKING

from ...contract.calibration import Calibration
from ..tf_graph import quiet_tensorflow

if TYPE_CHECKING:
    from ai_edge_quantizer.qtyping import OpQuantizationConfig
    from ai_edge_quantizer.recipe_manager import RecipeManager

# The operators with weights to round, by their names in the file.
ROUNDABLE = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def quantized(content: bytes, variant: str, calibration: Calibration | None) -> bytes:
    """Return the file with the weights of its convolutions and dense layers in 16 or 8 bits.

    "float16" stores them in half precision, "dynamic_int8" rounds activations as they come, "static_int8" in ranges
    that the calibration showed.
    """
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager

    names, recipe = qtyping.TFLOperationName, recipe_manager.RecipeManager()
    # The norms stay in float: a decomposed instance norm of rounded numbers loses several dB.
    for name in (names.CONV_2D, names.CONV_2D_TRANSPOSE, names.DEPTHWISE_CONV_2D, names.FULLY_CONNECTED):
        if variant == "float16":
            recipe.add_quantization_config(".*", name, _half(), algorithm_key="float_casting")
        elif variant == "dynamic_int8":
            recipe.add_dynamic_config(".*", name, num_bits=8)
        else:
            recipe.add_static_config(".*", name, activation_num_bits=8, weight_num_bits=8)
    with quiet_tensorflow(), warnings.catch_warnings():
        # The quantizer keeps all tensors to look whether each has a range.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors", category=UserWarning)
        ranges = None if calibration is None else _ranges(content, recipe, calibration)
        work = quantizer.Quantizer(content, recipe.get_quantization_recipe())
        return bytes(work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _half() -> "OpQuantizationConfig":
    """Weights in half precision, which the runtime widens once when it loads the file."""
    from ai_edge_quantizer import qtyping

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    return qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )


def _ranges(content: bytes, recipe: "RecipeManager", calibration: Calibration) -> dict:
    """Return the least and the largest value of each tensor over all examples."""
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    # The quantizer's own `calibrate` averages the ranges over the examples; values beyond are cut, which cost the
    # preset cyclegan_photo_dusk 29 dB.
    # The profiler sees each tensor as it is made; the other mode reads a loop's afterwards, when they are gone.
    calibrator = Calibrator(
        content,
        num_threads=os.cpu_count() or 1,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=min_max_update,
    )
    calibrator.calibrate({"serving_default": calibration.examples}, recipe)
    return calibrator.get_model_qsvs()
