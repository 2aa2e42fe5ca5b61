"""The handler of each layer, by its exact class, and of each operation of keras.ops, by its module and name."""

import keras
from keras import layers as k

from kerasgen import layers as own

from . import attention, convolutions, layers, norms, operations, resizing, shapes
from .call import Handler

LAYERS: dict[type, Handler] = {
    k.Activation: layers.activation,
    k.ActivityRegularization: layers.identity,
    k.Add: layers.elementwise("Add"),
    k.Average: layers.average,
    k.AveragePooling1D: convolutions.average_pooling,
    k.AveragePooling2D: convolutions.average_pooling,
    k.BatchNormalization: norms.batch_norm,
    k.Concatenate: layers.concatenate,
    k.Conv1D: convolutions.conv,
    k.Conv2D: convolutions.conv,
    k.Conv2DTranspose: convolutions.conv_transpose,
    k.Conv3D: convolutions.conv,
    k.Cropping2D: layers.cropping,
    k.Dense: convolutions.dense,
    k.DepthwiseConv2D: convolutions.depthwise_conv,
    k.Dropout: layers.identity,
    k.ELU: layers.elu_layer,
    k.Embedding: convolutions.embedding,
    k.EinsumDense: attention.einsum_dense,
    k.Flatten: layers.flatten,
    k.GaussianDropout: layers.identity,
    k.GaussianNoise: layers.identity,
    k.GlobalAveragePooling1D: convolutions.global_average_pooling,
    k.GlobalAveragePooling2D: convolutions.global_average_pooling,
    k.GlobalMaxPooling2D: convolutions.global_max_pooling,
    k.GroupNormalization: norms.group_norm,
    k.Identity: layers.identity,
    k.LayerNormalization: norms.layer_norm,
    k.LeakyReLU: layers.leaky_relu_layer,
    k.MaxPooling1D: convolutions.max_pooling,
    k.MaxPooling2D: convolutions.max_pooling,
    k.Maximum: layers.elementwise("Max"),
    k.Minimum: layers.elementwise("Min"),
    k.MultiHeadAttention: attention.multi_head_attention,
    k.Multiply: layers.elementwise("Mul"),
    k.Normalization: norms.normalization,
    k.PReLU: layers.prelu,
    k.Permute: layers.permute,
    k.ReLU: layers.relu_layer,
    k.RepeatVector: layers.repeat_vector,
    k.Rescaling: norms.rescaling,
    k.Reshape: layers.reshape,
    k.Resizing: resizing.resizing,
    k.SeparableConv2D: convolutions.separable_conv,
    k.Softmax: layers.softmax_layer,
    k.SpatialDropout2D: layers.identity,
    k.Subtract: layers.elementwise("Sub"),
    k.UnitNormalization: norms.unit_norm,
    k.UpSampling2D: resizing.upsampling,
    k.ZeroPadding2D: layers.zero_padding,
    own.Cropping2D: layers.cropping,
    own.GroupNormalization: norms.group_norm,
    own.InstanceNormalization: norms.instance_norm,
    own.ReflectionPadding2D: layers.reflection_padding,
    own.SyncBatchNormalization: norms.batch_norm,
}
# These take integers too; any other layer is a matter of floats.
OF_ANY_DTYPE = {k.Embedding, k.Flatten, k.Identity, k.Normalization, k.Permute, k.Rescaling, k.Reshape}
# Their handlers look at the arguments themselves; Keras calls Resizing with training=True, which it ignores.
OF_ANY_CALL = {k.MultiHeadAttention, k.Resizing}

# Classes that Keras has no public name for, such as operations, some of which are named like layers.
_MODULES = {f"keras.src.ops.{name}": handler for name, handler in (operations.OPERATIONS | shapes.OPERATIONS).items()}
BY_NAME: dict[str, Handler] = _MODULES | {
    "keras.src.applications.convnext.LayerScale": norms.layer_scale,
    "keras.src.applications.convnext.StochasticDepth": layers.identity,
}


def handler_of(operation: keras.Operation) -> Handler | None:
    """Return what translates a layer or operation, or None; a subclass may compute something else."""
    kind = type(operation)
    return LAYERS.get(kind) or BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}")
