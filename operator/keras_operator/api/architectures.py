"""The networks that can be trained by name, and the smallest image that each takes."""

from enum import StrEnum


class PretrainedWeights(StrEnum):
    """Weights that Keras offers for its own networks."""

    NONE = "none"
    IMAGENET = "imagenet"


class ArchitectureName(StrEnum):
    """Three networks of this project, then every network of `keras.applications` (Keras 3.15)."""

    SIMPLE_CNN = "SimpleCNN"
    SMALL_CNN = "SmallCNN"
    MLP = "MLP"
    CONVNEXT_BASE = "ConvNeXtBase"
    CONVNEXT_LARGE = "ConvNeXtLarge"
    CONVNEXT_SMALL = "ConvNeXtSmall"
    CONVNEXT_TINY = "ConvNeXtTiny"
    CONVNEXT_XLARGE = "ConvNeXtXLarge"
    DENSENET_121 = "DenseNet121"
    DENSENET_169 = "DenseNet169"
    DENSENET_201 = "DenseNet201"
    EFFICIENTNET_B0 = "EfficientNetB0"
    EFFICIENTNET_B1 = "EfficientNetB1"
    EFFICIENTNET_B2 = "EfficientNetB2"
    EFFICIENTNET_B3 = "EfficientNetB3"
    EFFICIENTNET_B4 = "EfficientNetB4"
    EFFICIENTNET_B5 = "EfficientNetB5"
    EFFICIENTNET_B6 = "EfficientNetB6"
    EFFICIENTNET_B7 = "EfficientNetB7"
    EFFICIENTNET_V2_B0 = "EfficientNetV2B0"
    EFFICIENTNET_V2_B1 = "EfficientNetV2B1"
    EFFICIENTNET_V2_B2 = "EfficientNetV2B2"
    EFFICIENTNET_V2_B3 = "EfficientNetV2B3"
    EFFICIENTNET_V2_L = "EfficientNetV2L"
    EFFICIENTNET_V2_M = "EfficientNetV2M"
    EFFICIENTNET_V2_S = "EfficientNetV2S"
    INCEPTION_RESNET_V2 = "InceptionResNetV2"
    INCEPTION_V3 = "InceptionV3"
    MOBILENET = "MobileNet"
    MOBILENET_V2 = "MobileNetV2"
    MOBILENET_V3_LARGE = "MobileNetV3Large"
    MOBILENET_V3_SMALL = "MobileNetV3Small"
    NASNET_LARGE = "NASNetLarge"
    NASNET_MOBILE = "NASNetMobile"
    RESNET_101 = "ResNet101"
    RESNET_101_V2 = "ResNet101V2"
    RESNET_152 = "ResNet152"
    RESNET_152_V2 = "ResNet152V2"
    RESNET_50 = "ResNet50"
    RESNET_50_V2 = "ResNet50V2"
    VGG16 = "VGG16"
    VGG19 = "VGG19"
    XCEPTION = "Xception"


SMALLEST_IMAGE = {
    # Two unpadded 3×3 convolutions, each followed by a 2×2 pooling, leave one pixel of ten.
    ArchitectureName.SIMPLE_CNN: 10,
    ArchitectureName.SMALL_CNN: 8,
    # It takes none.
    ArchitectureName.MLP: 8,
    # keras.applications: `min_size` in each network's source.
    ArchitectureName.INCEPTION_RESNET_V2: 75,
    ArchitectureName.INCEPTION_V3: 75,
    ArchitectureName.XCEPTION: 71,
}
"""Pixels of the shorter side; a network of `keras.applications` that is not named here takes 32."""


def smallest_image(name: ArchitectureName) -> int:
    """Pixels that each side of an image needs for this network."""
    return SMALLEST_IMAGE.get(name, 32)
