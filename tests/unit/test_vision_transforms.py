"""Transforms: against Pillow, against formulas, and with torchvision's random numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.vision import transforms as T
from danlu.vision.transforms import InterpolationMode
from danlu.vision.transforms import functional as F

Image = pytest.importorskip("PIL.Image")
PIXELS = np.random.RandomState(0).randint(0, 256, (17, 23, 3)).astype(np.uint8)


def picture():
    return Image.fromarray(PIXELS)


def bytes_tensor():
    return danlu.from_numpy(PIXELS.transpose(2, 0, 1).copy())


def grid():
    return danlu.arange(12.0).reshape(1, 3, 4)


def close(actual, expected, atol=2e-5):
    np.testing.assert_allclose(
        np.asarray(actual, np.float64).ravel(), np.asarray(expected, np.float64).ravel(), atol=atol
    )


# ---------------------------------------------------------------- images and tensors
def test_to_tensor_scales_bytes_and_puts_channels_first():
    tensor = T.ToTensor()(picture())
    assert (tensor.dtype, tensor.shape) == (danlu.float32, (3, 17, 23))
    assert tensor.is_contiguous()
    assert np.array_equal(tensor.numpy(), PIXELS.transpose(2, 0, 1).astype(np.float32) / 255)
    assert danlu.equal(T.ToTensor()(PIXELS), tensor)


@pytest.mark.parametrize(
    ("mode", "dtype", "value", "expected"),
    [
        ("1", danlu.float32, 1, 1.0),
        ("L", danlu.float32, 51, 51 / 255),
        ("I", danlu.int32, 70000, 70000),
        ("F", danlu.float32, 0.25, 0.25),
        ("I;16", danlu.uint16, 4000, 4000),
    ],
)
def test_to_tensor_of_each_mode(mode, dtype, value, expected):
    tensor = F.to_tensor(Image.new(mode, (3, 2), value))
    assert (tensor.dtype, tensor.shape) == (dtype, (1, 2, 3))
    assert tensor[0, 1, 2].item() == pytest.approx(expected)


def test_to_tensor_of_arrays():
    assert F.to_tensor(np.zeros((2, 3))).shape == (1, 2, 3)
    assert F.to_tensor(np.full((2, 3), 9, np.int64)).dtype == danlu.int64
    assert F.to_tensor(np.full((2, 3, 2), 0.5)).dtype == danlu.float64
    array = np.zeros((2, 3))
    F.to_tensor(array)[0, 0, 0] = 1
    assert array[0, 0] == 0


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_pillow_images_go_to_tensors_and_back(mode):
    image = picture().convert(mode)
    back = F.to_pil_image(F.pil_to_tensor(image), mode)
    assert (back.mode, back.size, back.tobytes()) == (mode, image.size, image.tobytes())


def test_to_pil_image_of_floats_and_arrays():
    image = T.ToPILImage()(danlu.tensor([[[0.0, 0.5, 1.0]]]))
    assert (image.mode, list(image.tobytes())) == ("L", [0, 127, 255])
    assert T.ToPILImage()(PIXELS).tobytes() == PIXELS.tobytes()
    assert T.ToPILImage("F")(danlu.rand(2, 3)).mode == "F"


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: T.ToTensor()(3), TypeError, "PIL Image or ndarray. Got <class 'int'>"),
        (lambda: T.ToTensor()(np.zeros(2)), ValueError, "2/3 dimensional. Got 1"),
        (lambda: T.PILToTensor()(PIXELS), TypeError, "pic should be PIL Image"),
        (lambda: T.ToPILImage()("x"), TypeError, "Tensor or ndarray"),
        (lambda: T.ToPILImage()(danlu.rand(2, 3, 4, 5)), ValueError, "Got 4 dimensions"),
        (lambda: T.ToPILImage()(danlu.rand(5, 3, 4)), ValueError, "Got 5 channels"),
        (lambda: T.ToPILImage("RGB")(danlu.rand(1, 3, 4)), ValueError, "Should be L"),
        (lambda: T.ToPILImage("L")(danlu.rand(3, 3, 4)), ValueError, "RGB"),
        (lambda: T.ToPILImage()(danlu.arange(4).reshape(2, 2)), TypeError, "int64"),
        (lambda: T.Normalize([0.5], [0.0])(danlu.rand(1, 2, 2)), ValueError, "division by zero"),
        (lambda: T.Normalize([0.5], [1.0])(picture()), TypeError, "put ToTensor"),
        (lambda: T.Normalize([0.5], [1.0])(bytes_tensor()), TypeError, "float tensor. Got"),
        (lambda: T.Normalize([0.5], [1.0])(danlu.rand(2, 2)), ValueError, r"\(..., C, H, W\)"),
        (lambda: T.Normalize([0.5] * 2, [1.0] * 2)(danlu.rand(3, 2, 2)), RuntimeError, "size"),
        (lambda: T.ConvertImageDtype(danlu.uint8)(picture()), TypeError, "Tensor Image"),
        (lambda: F.convert_image_dtype(danlu.rand(2), danlu.int32), RuntimeError, "safely"),
        (lambda: T.Resize(T), TypeError, "int or sequence"),
        (lambda: T.Resize((1, 2, 3)), ValueError, "1 or 2 values"),
        (lambda: T.Resize(4, interpolation="bilinear"), TypeError, "InterpolationMode.BILINEAR"),
        (lambda: T.Resize(0)(grid()), RuntimeError, "greater than 0"),
        (lambda: T.Resize(5, max_size=4)(grid()), ValueError, "strictly greater"),
        (lambda: T.Resize((3, 4), max_size=9)(grid()), ValueError, "smaller edge"),
        (lambda: F.resize(grid(), [1, 2, 3]), ValueError, "3 element"),
        (lambda: F.resize(grid(), 2, InterpolationMode.LANCZOS), ValueError, "BICUBIC"),
        (lambda: T.CenterCrop((1, 2, 3)), ValueError, "two dimensions"),
        (lambda: T.RandomCrop(9)(grid()), ValueError, r"\(9, 9\) is larger .* \(3, 4\)"),
        (lambda: T.FiveCrop(9)(grid()), ValueError, "bigger than input size"),
        (lambda: T.Pad("a"), TypeError, "padding arg"),
        (lambda: T.Pad((1, 2, 3)), ValueError, "3 element"),
        (lambda: T.Pad(1, fill="a"), TypeError, "fill arg"),
        (lambda: T.Pad(1, padding_mode="x"), ValueError, "constant, edge, reflect or symmetric"),
        (lambda: T.Pad(9, padding_mode="reflect")(grid()), RuntimeError, "Padding size"),
        (lambda: T.Pad(1, fill=(1, 2, 3))(bytes_tensor()), TypeError, "one number"),
        (lambda: T.Pad(1, fill=(1, 2))(picture()), ValueError, r"2 != 3"),
        (lambda: T.RandomRotation(-3), ValueError, "must be positive"),
        (lambda: T.RandomRotation((1, 2, 3)), ValueError, "length 2"),
        (lambda: T.RandomRotation(3)(PIXELS), TypeError, "PIL Image or a tensor"),
        (lambda: F.rotate(grid(), "a"), TypeError, "angle"),
        (lambda: F.rotate(grid(), 3, center=1), TypeError, "center"),
        (lambda: F.rotate(grid(), 3, fill=[1, 2]), ValueError, "2 != 1"),
        (lambda: F.rotate(grid(), 3, InterpolationMode.BICUBIC), ValueError, "unsupported"),
        (lambda: T.RandomAffine(3, translate=(2, 1)), ValueError, "between 0 and 1"),
        (lambda: T.RandomAffine(3, translate=3), TypeError, "length 2"),
        (lambda: T.RandomAffine(3, scale=(-1, 1)), ValueError, "positive"),
        (lambda: T.RandomAffine(3, shear=(1, 2, 3)), ValueError, "length 2 or 4"),
        (lambda: F.affine(grid(), 3, [1], 1, [0, 0]), ValueError, "length 2"),
        (lambda: F.affine(grid(), 3, [1, 1], 0, [0, 0]), ValueError, "scale"),
        (lambda: F.affine(grid(), 3, [1, 1], 1, "a"), TypeError, "Shear"),
        (lambda: F.affine(grid(), 3, [1, 1], 1, [1, 2, 3]), ValueError, "two values"),
        (lambda: F.perspective(grid(), [[0, 0]], [[0, 0]]), ValueError, "four corners"),
        (lambda: T.ColorJitter(-1), ValueError, "non negative"),
        (lambda: T.ColorJitter(hue=0.9), ValueError, r"\(-0.5, 0.5\)"),
        (lambda: T.ColorJitter("a"), TypeError, "brightness"),
        (lambda: T.ColorJitter((2, 1)), ValueError, r"\[2.0, 1.0\]"),
        (lambda: F.adjust_brightness(grid(), -1), ValueError, "brightness_factor"),
        (lambda: F.adjust_hue(grid(), 1), ValueError, "hue_factor"),
        (lambda: F.adjust_gamma(grid(), -1), ValueError, "non-negative"),
        (lambda: F.adjust_contrast(danlu.rand(2, 3, 3), 1), TypeError, "found 2"),
        (lambda: T.Grayscale(2)(picture()), ValueError, "either 1 or 3"),
        (lambda: F.to_grayscale(grid()), TypeError, "rgb_to_grayscale"),
        (lambda: T.GaussianBlur(2), ValueError, "odd and positive"),
        (lambda: T.GaussianBlur(3, (3, 1)), ValueError, r"\(min, max\)"),
        (lambda: F.gaussian_blur(grid(), 3, -1.0), ValueError, "sigma"),
        (lambda: F.posterize(grid(), 3), TypeError, "uint8"),
        (lambda: F.posterize(picture(), 9), ValueError, "between 0 and 8"),
        (lambda: F.solarize(grid(), 2), TypeError, "bound"),
        (lambda: F.equalize(grid()), TypeError, "uint8"),
        (lambda: T.RandomErasing(p=3), ValueError, "between 0 and 1"),
        (lambda: T.RandomErasing(scale=1), TypeError, "Scale"),
        (lambda: T.RandomErasing(scale=(2, 3)), ValueError, "Scale"),
        (lambda: T.RandomErasing(value="a"), ValueError, "'random'"),
        (lambda: T.RandomErasing(1.0, value=(1, 2))(bytes_tensor()), ValueError, "or 3"),
        (lambda: T.RandomErasing()(picture()), TypeError, "put ToTensor"),
        (lambda: F.erase(picture(), 0, 0, 1, 1, 0), TypeError, "Tensor Image"),
        (lambda: T.Lambda(3), TypeError, "callable, got 'int'"),
        (lambda: T.RandomApply(3), TypeError, "sequence"),
        (lambda: T.RandomChoice(3), TypeError, "sequence"),
        (lambda: F.hflip(3), TypeError, "PIL Image"),
        (lambda: F.hflip(danlu.rand(3)), TypeError, "not a torch image"),
    ],
)
def test_bad_input(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_normalize():
    image = danlu.rand(2, 3, 4, 5)
    result = T.Normalize((0.1, 0.2, 0.3), (0.5, 1.0, 2.0))(image)
    mean = danlu.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1)
    close(result, (image - mean) / danlu.tensor([0.5, 1.0, 2.0]).reshape(3, 1, 1))
    kept = image.clone()
    assert T.Normalize(0.5, 0.5, inplace=True)(image) is image
    close(image, (kept - 0.5) / 0.5)


@pytest.mark.parametrize(
    ("values", "source", "target", "expected"),
    [
        ([0.0, 0.5, 1.0], "float32", "uint8", [0, 127, 255]),
        ([0, 128, 255], "uint8", "float64", [0.0, 128 / 255, 1.0]),
        ([0, 1, 255], "uint8", "int16", [0, 128, 255 * 128]),
        ([0, 300, 32767], "int16", "uint8", [0, 2, 255]),
        ([0.25], "float64", "float32", [0.25]),
    ],
)
def test_convert_image_dtype(values, source, target, expected):
    tensor = danlu.tensor(values, dtype=getattr(danlu, source))
    result = T.ConvertImageDtype(getattr(danlu, target))(tensor)
    assert result.dtype == getattr(danlu, target)
    close(result, expected)


# ---------------------------------------------------------------- the same on both roads
EXACT = [
    T.CenterCrop((9, 8)), T.CenterCrop((30, 10)), T.Pad((1, 2, 3, 4), fill=9),
    T.Pad(5, padding_mode="reflect"), T.Pad((1, 2), padding_mode="edge"),
    T.Pad(9, padding_mode="symmetric"), T.Pad((-2, 3), padding_mode="edge"), T.Pad((-2, 1)),
    T.RandomHorizontalFlip(1.0), T.RandomVerticalFlip(1.0), T.RandomInvert(1.0),
    T.RandomPosterize(3, 1.0), T.RandomSolarize(100, 1.0), T.RandomEqualize(1.0),
    T.Lambda(lambda image: F.crop(image, -3, 15, 9, 12)),
    T.Resize(9, InterpolationMode.NEAREST_EXACT), T.RandomRotation((90, 90), fill=3),
]  # fmt: skip
# Pillow computes with bytes in between: (transform, how far a byte may be away)
SIMILAR = [
    (T.Resize(9), 1), (T.Resize((40, 11)), 1), (T.Resize((9, 30), InterpolationMode.BICUBIC), 1),
    (T.ColorJitter((0.6, 0.6)), 1), (T.ColorJitter(contrast=(0.6, 0.6)), 2),
    (T.ColorJitter(saturation=(1.5, 1.5)), 2), (T.ColorJitter(hue=(0.2, 0.2)), 8),
    (T.Grayscale(3), 1), (T.RandomAutocontrast(1.0), 1), (T.RandomAdjustSharpness(2, 1.0), 2),
    (T.Lambda(lambda image: F.adjust_gamma(image, 2.2, 0.9)), 1),
    (T.RandomAffine((0, 0), interpolation=InterpolationMode.BILINEAR), 0),
]  # fmt: skip


@pytest.mark.parametrize(("transform", "away"), [(each, 0) for each in EXACT] + SIMILAR)
def test_tensors_are_treated_as_pillow_treats_images(transform, away):
    expected = np.asarray(transform(picture())).astype(int)
    actual = transform(bytes_tensor())
    assert actual.dtype == danlu.uint8
    assert actual.shape == (3, *expected.shape[:2])
    assert abs(actual.numpy().transpose(1, 2, 0) - expected).max() <= away


@pytest.mark.parametrize("mode", [InterpolationMode.NEAREST, InterpolationMode.BILINEAR])
@pytest.mark.parametrize("expand", [False, True])
def test_smooth_images_turn_as_pillows(mode, expand):
    y, x = np.mgrid[:40, :50]
    smooth = np.stack([x * 4, y * 5, x + y], -1).astype(np.uint8)
    tensor = F.rotate(F.pil_to_tensor(Image.fromarray(smooth)), 30, mode, expand)
    image = F.rotate(Image.fromarray(smooth), 30, mode, expand)
    expected = F.pil_to_tensor(image)
    assert tensor.shape[1] == pytest.approx(expected.shape[1], abs=1)
    if not expand:
        inside = (expected.amax(0) > 0) & (tensor.amax(0) > 0)
        away = (tensor.float() - expected.float()).abs().amax(0)[inside]
        assert away.quantile(0.9) <= 2  # but for the border, which a tensor blends with black


# ---------------------------------------------------------------- values of torchvision 0.28
def test_maps_of_the_plane():
    close(
        F.rotate(grid(), 30, InterpolationMode.BILINEAR, fill=[100.0]),
        [61.705887, 12.827005, 3.968917, 33.115192, 1.200962, 4.066987, 6.933013, 9.799038,
         32.097229, 7.031089, 18.973606, 63.120975],
        atol=1e-4,
    )  # fmt: skip
    assert F.rotate(grid(), 30, expand=True).shape == (1, 5, 6)
    close(
        F.rotate(grid(), 45, expand=True),
        [0, 0, 0, 3, 0, 0, 0, 0, 2, 7, 7, 0, 0, 0, 5, 6, 11, 0, 0, 4, 4, 9, 0, 0, 0, 0, 8, 0, 0, 0],
    )
    close(F.affine(grid(), 20, (1, 0), 1.5, (10, 5)), [4, 4, 1, 1, 4, 5, 5, 6, 8, 9, 10, 10])
    corners = [[0, 0], [3, 0], [3, 2], [0, 2]]
    close(
        F.perspective(grid(), corners, [[0, 1], [3, 0], [2, 2], [0, 2]]),
        [0.021001, 0.75, 1.868547, 3.040983, 2.596775, 4.730769, 6.138299, 4.648762, 2.609998,
         6.043385, 7.111386, 2.092572],
        atol=1e-4,
    )  # fmt: skip


def test_sizes_and_values_of_resized_tensors():
    close(F.resize(grid(), [2, 3]), [1.8, 3.0, 4.2, 6.8, 8.0, 9.2])
    close(
        F.resize(grid(), [2, 3], InterpolationMode.BICUBIC),
        [1.429096, 2.739165, 4.049233, 6.950766, 8.260835, 9.570904],
    )
    assert F.resize(grid(), 6).shape == (1, 6, 8)
    assert F.resize(grid(), [6]).shape == (1, 6, 8)
    assert F.resize(grid(), 6, max_size=7).shape == (1, 5, 7)
    assert F.resize(picture(), 34).size == (46, 34)
    same = grid()
    assert F.resize(same, [3, 4]) is same
    assert danlu.equal(
        F.resize(grid(), [2, 3], antialias=False),
        nn.functional.interpolate(grid()[None], (2, 3), mode="bilinear")[0],
    )


def test_colours_of_tensors():
    close(F.adjust_hue(danlu.tensor([0.2, 0.5, 0.9]).reshape(3, 1, 1), 0.3), [0.9, 0.2, 0.64])
    expected = 0.5 * np.arange(12) / 12 + 0.5 * 11 / 24
    close(F.adjust_contrast(grid() / 12, 0.5), expected)
    close(F.adjust_sharpness(grid() / 12, 2), np.arange(12) / 12)
    close(
        F.gaussian_blur(grid(), [3, 3], [1.0, 1.0]),
        [2.740686, 3.192549, 4.192549, 4.644412, 4.548137, 5.0, 6.0, 6.451862, 6.355588, 6.807451,
         7.807452, 8.259314],
    )  # fmt: skip
    red, green, blue = danlu.rand(3, 2, 2)
    gray = 0.2989 * red + 0.587 * green + 0.114 * blue
    close(F.rgb_to_grayscale(danlu.stack((red, green, blue))), gray)
    assert F.rgb_to_grayscale(grid(), 3).shape == (3, 3, 4)


def test_gradients_flow_through_transforms_of_tensors():
    image = danlu.rand(3, 6, 7, requires_grad=True)
    steps = nn.Sequential(
        T.Pad(2, padding_mode="reflect"), T.RandomRotation(20, InterpolationMode.BILINEAR),
        T.Resize(5), T.GaussianBlur(3), T.Normalize(0.5, 0.5),
    )  # fmt: skip
    steps(image).sum().backward()
    assert image.grad.shape == image.shape
    assert (image.grad != 0).any()


# ---------------------------------------------------------------- chance
@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda x: T.RandomCrop.get_params(x, (11, 13)), (16, 8, 11, 13)),
        (lambda x: T.RandomResizedCrop.get_params(x, (0.08, 1.0), (3 / 4, 4 / 3)), (12, 3, 16, 13)),
        (lambda x: T.RandomResizedCrop.get_params(x, (0.9, 1.0), (5.0, 6.0)), (14, 0, 12, 60)),
        (lambda x: [T.RandomRotation.get_params([-30.0, 30.0])], [-29.74418830871582]),
        (
            lambda x: T.RandomErasing.get_params(x, (0.02, 0.33), (0.3, 3.3), [0.0])[:4],
            (31, 11, 4, 12),
        ),
        (
            lambda x: danlu.tensor(T.RandomPerspective.get_params(60, 40, 0.5)[1]).flatten(),
            [10, 8, 53, 3, 52, 35, 0, 32],
        ),
        (lambda x: [T.GaussianBlur.get_params(0.1, 2.0)], [0.10810068994760513]),
    ],
)
def test_the_same_seed_draws_torchvisions_numbers(draw, expected):
    danlu.manual_seed(3)
    close(draw(danlu.zeros(3, 40, 60)), expected, atol=1e-6)


def test_affine_and_colour_parameters():
    danlu.manual_seed(3)
    angle, shift, factor, shear = T.RandomAffine.get_params(
        [-30.0, 30.0], (0.2, 0.3), (0.5, 1.5), [-5.0, 5.0, -9.0, 9.0], [60, 40]
    )
    close([angle, *shift, factor, *shear], [-29.744188, -9, -5, 0.526955, -0.283856, -7.917907])
    danlu.manual_seed(3)
    order, *factors = T.ColorJitter.get_params((0.5, 1.5), None, (0.2, 0.3), (-0.1, 0.1))
    assert order.tolist() == [2, 3, 1, 0]
    assert factors.pop(1) is None
    close(factors, [0.526955, 0.247161, -0.087977])


def test_the_whole_image_draws_no_place():
    danlu.manual_seed(0)
    expected = danlu.rand(1)
    danlu.manual_seed(0)
    assert T.RandomCrop((3, 4)).get_params(grid(), (3, 4)) == (0, 0, 3, 4)
    assert danlu.equal(danlu.rand(1), expected)


def test_padding_before_a_random_crop():
    assert T.RandomCrop((5, 9), pad_if_needed=True)(grid()).shape == (1, 5, 9)
    assert T.RandomCrop(6, padding=2)(picture()).size == (6, 6)
    edge = T.RandomCrop(9, pad_if_needed=True, padding_mode="edge")(grid() + 1)
    assert (edge > 0).all()


def test_erasing():
    image = danlu.zeros(3, 20, 20)
    result = T.RandomErasing(1.0, value=(1, 2, 3))(image)
    assert (image == 0).all()
    touched = result[0] != 0
    assert 0.02 * 400 / 2 < touched.sum() < 0.34 * 400
    assert [result[channel][touched].unique().tolist() for channel in range(3)] == [[1], [2], [3]]
    assert T.RandomErasing(1.0, value="random")(image).unique().numel() > 20
    assert T.RandomErasing(1.0, value=5, inplace=True)(image) is image
    assert T.RandomErasing(0.0)(image) is image


def test_transforms_of_transforms():
    crop, pad = T.CenterCrop(3), T.Pad(1)
    assert T.Compose([pad, pad])(grid()).shape == (1, 7, 8)
    assert T.RandomApply([crop], p=0.0)(grid()).shape == (1, 3, 4)
    assert T.RandomApply(nn.ModuleList([crop, pad]), p=1.0)(grid()).shape == (1, 5, 5)
    random.seed(1)
    shapes = {tuple(T.RandomChoice([crop, pad])(grid()).shape) for _ in range(20)}
    assert shapes == {(1, 3, 3), (1, 5, 6)}
    shapes = {tuple(T.RandomOrder([T.CenterCrop(4), pad])(grid()).shape) for _ in range(20)}
    assert shapes == {(1, 6, 6), (1, 4, 4)}
    assert T.RandomChoice([crop, pad], p=[0, 1])(grid()).shape == (1, 5, 6)


def test_five_and_ten_crops():
    image = grid()
    corners = T.FiveCrop(2)(image)
    assert [crop[0, 0, 0].item() for crop in corners] == [0, 2, 4, 6, 1]
    ten = T.TenCrop((2, 2), vertical_flip=True)(image)
    assert [crop[0, 0, 0].item() for crop in ten[5:]] == [8, 10, 4, 6, 9]


def test_sizes():
    assert F.get_dimensions(picture()) == F.get_dimensions(bytes_tensor()) == [3, 17, 23]
    assert F.get_image_size(picture()) == F.get_image_size(bytes_tensor()) == [23, 17]
    assert F.get_image_num_channels(Image.new("L", (1, 1))) == 1
    assert F.get_dimensions(danlu.zeros(4, 5)) == [1, 4, 5]


# ---------------------------------------------------------------- how they print
@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (
            T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.5,))]),
            "Compose(\n    ToTensor()\n    Normalize(mean=(0.5,), std=(0.5,))\n)",
        ),
        (T.ToPILImage("L"), "ToPILImage(mode=L)"),
        (T.ConvertImageDtype(danlu.uint8), "ConvertImageDtype()"),
        (T.Resize(3), "Resize(size=3, interpolation=bilinear, max_size=None, antialias=True)"),
        (T.CenterCrop(3), "CenterCrop(size=(3, 3))"),
        (T.TenCrop(3), "TenCrop(size=(3, 3), vertical_flip=False)"),
        (T.RandomCrop(3, padding=1), "RandomCrop(size=(3, 3), padding=1)"),
        (
            T.RandomResizedCrop(3),
            "RandomResizedCrop(size=(3, 3), scale=(0.08, 1.0), ratio=(0.75, 1.3333), "
            "interpolation=bilinear, antialias=True)",
        ),
        (T.Pad((1, 2), 3, "edge"), "Pad(padding=(1, 2), fill=3, padding_mode=edge)"),
        (T.RandomVerticalFlip(0.3), "RandomVerticalFlip(p=0.3)"),
        (
            T.RandomRotation((0, 5), expand=True, center=(1, 2), fill=1),
            "RandomRotation(degrees=[0.0, 5.0], interpolation=nearest, expand=True, "
            "center=(1, 2), fill=1)",
        ),
        (
            T.RandomAffine(30, (0.1, 0.2), (0.5, 0.6), 5, InterpolationMode.BILINEAR, 3, [1, 2]),
            "RandomAffine(degrees=[-30.0, 30.0], translate=(0.1, 0.2), scale=(0.5, 0.6), "
            "shear=[-5.0, 5.0], interpolation=bilinear, fill=3, center=[1, 2])",
        ),
        (
            T.ColorJitter(0.1, 0, 0.3, 0.4),
            "ColorJitter(brightness=(0.9, 1.1), contrast=None, saturation=(0.7, 1.3), "
            "hue=(-0.4, 0.4))",
        ),
        (T.GaussianBlur(3), "GaussianBlur(kernel_size=(3, 3), sigma=(0.1, 2.0))"),
        (
            T.RandomErasing(),
            "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False)",
        ),
        (T.RandomApply([T.ToTensor()]), "RandomApply(\n    p=0.5\n    ToTensor()\n)"),
        (T.RandomChoice([T.ToTensor()]), "RandomChoice(\n    ToTensor()\n)(p=None)"),
        (T.RandomPosterize(2), "RandomPosterize(bits=2,p=0.5)"),
        (T.RandomPerspective(), "RandomPerspective(p=0.5)"),
    ],
)
def test_representations(transform, expected):
    assert repr(transform) == expected


def test_pillows_numbers_for_modes():
    assert T.Resize(3, interpolation=3).interpolation is InterpolationMode.BICUBIC
    assert T.Resize(3, Image.Resampling.NEAREST).interpolation is InterpolationMode.NEAREST
