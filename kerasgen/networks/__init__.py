"""Networks, built functionally from keras.ops layers: they run under every Keras backend."""

from kerasgen.networks.autoencoder import residual_decoder, residual_encoder, tiny_decoder, tiny_encoder
from kerasgen.networks.conv import conv_decoder, conv_encoder
from kerasgen.networks.patchgan import patchgan, pixel_discriminator
from kerasgen.networks.pixelcnn import pixelcnn
from kerasgen.networks.quantizer import VectorQuantizer
from kerasgen.networks.resnet import resnet_generator
from kerasgen.networks.unet import unet_generator
from kerasgen.networks.velocity import velocity_unet

__all__ = [
    "VectorQuantizer",
    "conv_decoder",
    "conv_encoder",
    "patchgan",
    "pixel_discriminator",
    "pixelcnn",
    "residual_decoder",
    "residual_encoder",
    "resnet_generator",
    "tiny_decoder",
    "tiny_encoder",
    "unet_generator",
    "velocity_unet",
]
