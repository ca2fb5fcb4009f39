"""Grids, picture files, drawings, image files and boxes."""

from __future__ import annotations

import numpy as np
import pytest

import danlu
from danlu import vision
from danlu.vision import io, ops
from danlu.vision.utils import draw_bounding_boxes, make_grid, save_image

Image = pytest.importorskip("PIL.Image")


def test_a_grid_has_images_in_rows():
    images = danlu.arange(1, 6).reshape(5, 1, 1, 1).expand(5, 1, 2, 3)
    grid = make_grid(images, nrow=3, padding=1, pad_value=9)
    rows = ["9999999999999", "9111922293339", "9111922293339", "9999999999999",
            "9444955599999", "9444955599999", "9999999999999"]  # fmt: skip
    assert grid.dtype == danlu.int64
    for channel in grid.tolist():
        assert ["".join(map(str, row)) for row in channel] == rows


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 5), (3, 4, 5)),
        ((1, 4, 5), (3, 4, 5)),
        ((3, 4, 5), (3, 4, 5)),
        ((1, 3, 4, 5), (3, 4, 5)),
        ((9, 3, 4, 5), (3, 14, 58)),
    ],
)
def test_sizes_of_grids(shape, expected):
    assert make_grid(danlu.zeros(shape)).shape == expected


def test_a_list_of_images():
    images = list(danlu.rand(3, 3, 2, 2))
    assert danlu.equal(make_grid(images), make_grid(danlu.stack(images)))


def test_normalised_grids():
    images = danlu.tensor([[0.0, 2.0], [4.0, 8.0]]).reshape(2, 1, 1, 2)

    def values(**options):
        grid = make_grid(images, padding=0, normalize=True, **options)
        return grid[0].flatten().tolist()

    assert values() == [0.0, 0.25, 0.5, 1.0]
    assert values(scale_each=True) == [0.0, 1.0, 0.0, 1.0]
    assert values(value_range=(2, 4)) == [0.0, 0.0, 1.0, 1.0]
    assert images.flatten().tolist() == [0.0, 2.0, 4.0, 8.0]


def test_grids_of_what_is_no_image():
    for value, given in ((3, "int"), ([1, 2], "containing <class 'int'>")):
        with pytest.raises(TypeError, match=given):
            make_grid(value)
    with pytest.raises(TypeError, match="value_range has to be a tuple"):
        make_grid(danlu.rand(2, 3, 4, 4), normalize=True, value_range=3)
    with pytest.raises(ValueError, match="at least one image"):
        make_grid(danlu.rand(0, 3, 4, 4))
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        make_grid(danlu.rand(1, 1, 3, 4, 4))


def test_save_image_rounds(tmp_path):
    image = danlu.tensor([0.0, 0.4999 / 255, 0.5 / 255, 1.0, -1.0, 2.0]).reshape(1, 2, 3)
    save_image(image.requires_grad_(), tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert pixels.shape == (2, 3, 3)
    assert pixels[..., 0].tolist() == [[0, 0, 1], [255, 0, 255]]
    with pytest.raises(ValueError, match="xyz"):
        save_image(image, tmp_path / "a.xyz")
    with open(tmp_path / "b", "wb") as file:
        save_image(image, file, format="BMP")
    assert Image.open(tmp_path / "b").format == "BMP"


def test_bounding_boxes():
    image = danlu.zeros(3, 8, 8, dtype=danlu.uint8)
    boxes = danlu.tensor([[1, 1, 5, 4]])
    drawn = draw_bounding_boxes(image, boxes, colors="red")
    assert (image == 0).all()
    edge = np.zeros((8, 8), bool)
    edge[1:5, 1:6] = True
    edge[2:4, 2:5] = False
    assert np.array_equal(drawn[0].numpy() == 255, edge)
    assert (drawn[1:] == 0).all()
    floats = draw_bounding_boxes(image.float(), boxes, colors=[(255, 0, 0)], fill=True)
    assert floats.dtype == danlu.float32
    assert floats[0, 1, 1] == 1.0
    assert 0 < floats[0, 2, 2] < 1
    assert (draw_bounding_boxes(image, boxes, labels=["x"]) != drawn).any()
    with pytest.raises(ValueError, match="box_convert"):
        draw_bounding_boxes(image, danlu.tensor([[5, 1, 1, 4]]))
    with pytest.raises(ValueError, match="labels"):
        draw_bounding_boxes(image, boxes, labels=[])
    with pytest.raises(ValueError, match="colors"):
        draw_bounding_boxes(image, boxes, colors=[])
    with pytest.raises(TypeError, match="Tensor expected"):
        draw_bounding_boxes(3, boxes)


def test_image_files(tmp_path):
    pixels = danlu.arange(3 * 4 * 5).reshape(3, 4, 5).to(danlu.uint8)
    io.write_png(pixels, tmp_path / "a.png")
    assert danlu.equal(io.read_image(tmp_path / "a.png"), pixels)
    assert io.read_image(str(tmp_path / "a.png"), io.ImageReadMode.GRAY).shape == (1, 4, 5)
    content = danlu.tensor(list((tmp_path / "a.png").read_bytes()), dtype=danlu.uint8)
    assert io.decode_image(content, "RGB_ALPHA").shape == (4, 4, 5)
    io.write_jpeg(pixels, tmp_path / "a.jpg", quality=95)
    assert io.read_image(tmp_path / "a.jpg").shape == (3, 4, 5)
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(RuntimeError, match=r"b\.png"):
        io.read_image(tmp_path / "b.png")
    with pytest.raises(FileNotFoundError):
        io.read_image(tmp_path / "c.png")
    with pytest.raises(RuntimeError, match="should be uint8"):
        io.write_png(pixels.float(), tmp_path / "d.png")


def test_boxes():
    boxes = danlu.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 7.0]])
    assert ops.box_area(boxes).tolist() == [4.0, 4.0, 2.0]
    third = 1 / 3
    expected = [[1.0, third, 0.0], [third, 1.0, 0.0], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(ops.box_iou(boxes, boxes).numpy(), expected, rtol=1e-6)
    assert ops.nms(boxes, danlu.tensor([0.1, 0.9, 0.5]), 0.3).tolist() == [1, 2]
    assert ops.nms(boxes, danlu.tensor([0.1, 0.9, 0.5]), 0.4).tolist() == [1, 2, 0]
    assert ops.clip_boxes_to_image(boxes, (6, 2)).tolist()[1:] == [
        [1.0, 0.0, 2.0, 2.0], [2.0, 5.0, 2.0, 6.0],
    ]  # fmt: skip
    for one in ("xyxy", "xywh", "cxcywh"):
        for other in ("xyxy", "xywh", "cxcywh"):
            there = ops.box_convert(boxes, one, other)
            assert danlu.allclose(ops.box_convert(there, other, one), boxes)
    with pytest.raises(ValueError, match="xxyy"):
        ops.box_convert(boxes, "xxyy", "xywh")


def test_the_package():
    assert vision.__version__ == "0.28.0"
    assert vision.get_image_backend() == "PIL"
    vision.set_image_backend("PIL")
    with pytest.raises(ValueError, match="accimage"):
        vision.set_image_backend("accimage")
