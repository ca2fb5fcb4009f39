"""Image datasets: folders, the files of the known sets, downloads from a server of our own."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import socket
import struct
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError

import numpy as np
import pytest

import danlu
from danlu.utils.data import DataLoader
from danlu.vision import datasets, transforms
from danlu.vision.datasets import utils
from danlu.vision.datasets.folder import find_classes, is_image_file, make_dataset
from danlu.vision.datasets.mnist import read_image_file, read_sn3_pascalvincent_tensor
from danlu.vision.datasets.vision import VisionDataset

Image = pytest.importorskip("PIL.Image")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


# ---------------------------------------------------------------- folders of images
@pytest.fixture
def pets(tmp_path):
    """cat: 2 images, one of them gray; dog: 1 image in a folder within, and a text."""
    for name in ("cat", "dog/small"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (4, 3), (255, 0, 0)).save(tmp_path / "cat/b.png")
    Image.new("L", (4, 3), 51).save(tmp_path / "cat/a.PNG")
    Image.new("RGB", (4, 3), (0, 0, 255)).save(tmp_path / "dog/small/c.jpg")
    (tmp_path / "dog/notes.txt").write_text("good dog")
    return tmp_path


def test_image_folder(pets):
    dataset = datasets.ImageFolder(pets)
    assert dataset.classes == ["cat", "dog"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1}
    paths = [os.path.relpath(path, pets) for path, _ in dataset.imgs]
    assert paths == ["cat/a.PNG", "cat/b.png", "dog/small/c.jpg"]
    assert dataset.imgs is dataset.samples
    assert dataset.targets == [0, 0, 1]
    image, label = dataset[0]
    assert (image.mode, image.size, image.getpixel((0, 0)), label) == (
        "RGB", (4, 3), (51, 51, 51), 0,
    )  # fmt: skip


def test_image_folder_in_a_loader(pets):
    dataset = datasets.ImageFolder(
        str(pets),
        transforms.ToTensor(),
        target_transform=lambda label: danlu.tensor([label]).float(),
    )
    images, labels = next(iter(DataLoader(dataset, batch_size=3)))
    assert images.shape == (3, 3, 3, 4)
    assert labels.tolist() == [[0.0], [0.0], [1.0]]
    assert images[1, :, 0, 0].tolist() == [1.0, 0.0, 0.0]


def test_loader_and_valid_files_of_ones_own(pets):
    dataset = datasets.ImageFolder(
        pets, loader=os.path.basename, is_valid_file=lambda path: not path.endswith(".png")
    )
    assert [dataset[i] for i in range(len(dataset))] == [
        ("a.PNG", 0),
        ("notes.txt", 1),
        ("c.jpg", 1),
    ]


def test_classes_of_ones_own(pets):
    class Dogs(datasets.ImageFolder):
        def find_classes(self, directory):
            return ["dog"], {"dog": 7}

    assert Dogs(pets).targets == [7]


def test_a_class_folder_without_images(pets):
    (pets / "emu").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        datasets.ImageFolder(pets)
    assert "for the classes emu" in str(caught.value)
    assert str(pets / "emu") in str(caught.value)
    assert ".webp" in str(caught.value)
    dataset = datasets.ImageFolder(pets, allow_empty=True)
    assert dataset.classes == ["cat", "dog", "emu"]
    assert len(dataset) == 3


def test_no_class_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="Couldn't find any class folder"):
        datasets.ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        datasets.ImageFolder(tmp_path / "nowhere")


@pytest.mark.parametrize("spoil", [lambda content: b"no image", lambda content: content[:40]])
def test_a_corrupt_image_is_named(pets, spoil):
    path = pets / "cat/b.png"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(OSError, match=r"cat[/\\]+b\.png"):
        datasets.ImageFolder(pets)[1]


def test_extensions_or_a_function(pets):
    for given in ({}, {"extensions": (".png",), "is_valid_file": is_image_file}):
        with pytest.raises(ValueError, match="cannot be None or not None at the same time"):
            datasets.DatasetFolder(pets, len, **given)
    with pytest.raises(ValueError, match="at least one entry"):
        make_dataset(pets, {}, (".png",))
    dataset = datasets.DatasetFolder(pets, loader=len, extensions=(".txt", ".png"))
    assert len(dataset) == 3


def test_find_classes_sorts(tmp_path):
    for name in ("10", "2", "b"):
        (tmp_path / name).mkdir()
    assert find_classes(tmp_path) == (["10", "2", "b"], {"10": 0, "2": 1, "b": 2})


def test_representation(pets):
    dataset = datasets.ImageFolder(
        str(pets),
        transforms.Compose([transforms.ToTensor(), transforms.CenterCrop(3)]),
        target_transform=transforms.Lambda(str),
    )
    assert repr(dataset) == (
        "Dataset ImageFolder\n"
        "    Number of datapoints: 3\n"
        f"    Root location: {pets}\n"
        "    StandardTransform\n"
        "Transform: Compose(\n"
        "               ToTensor()\n"
        "               CenterCrop(size=(3, 3))\n"
        "           )\n"
        "Target transform: Lambda()"
    )


def test_joint_and_separate_transforms_exclude_each_other():
    with pytest.raises(ValueError, match="Only transforms or transform/target_transform"):
        VisionDataset("x", transforms=len, transform=len)
    for method in (len, lambda dataset: dataset[0]):
        with pytest.raises(NotImplementedError, match="VisionDataset must define"):
            method(VisionDataset("x"))


# ---------------------------------------------------------------- images in memory
def idx(array) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_files(count=6) -> dict[str, bytes]:
    generator = np.random.RandomState(0)
    files = {}
    for part in ("train", "t10k"):
        images = generator.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx((np.arange(count) % 10).astype(np.uint8))
    return files


@pytest.fixture
def mnist_root(tmp_path):
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for name, content in mnist_files().items():
        (raw / name).write_bytes(content)
    return tmp_path


def test_mnist(mnist_root):
    dataset = datasets.MNIST(str(mnist_root))
    pixels = np.frombuffer(mnist_files()["train-images-idx3-ubyte"][16:], np.uint8)
    assert dataset.data.dtype == danlu.uint8
    assert np.array_equal(dataset.data.numpy(), pixels.reshape(6, 28, 28))
    assert dataset.targets.dtype == danlu.int64
    image, label = dataset[3]
    assert (image.mode, image.size, label, type(label)) == ("L", (28, 28), 3, int)
    assert np.array_equal(np.asarray(image), pixels.reshape(6, 28, 28)[3])
    assert dataset.classes[3] == "3 - three"
    assert dataset.class_to_idx["3 - three"] == 3
    assert "Split: Train" in repr(dataset)
    test = datasets.MNIST(mnist_root, train=False)
    assert "Split: Test" in repr(test)
    assert not np.array_equal(test.data.numpy(), dataset.data.numpy())
    with pytest.warns(UserWarning, match="renamed targets"):
        assert test.test_labels is test.targets


def test_mnist_from_compressed_files(mnist_root):
    expected = datasets.MNIST(mnist_root).data
    for path in (mnist_root / "MNIST/raw").iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert danlu.equal(datasets.MNIST(mnist_root).data, expected)


def test_mnist_files_that_are_missing_or_damaged(mnist_root):
    with pytest.raises(RuntimeError, match="download=True"):
        datasets.FashionMNIST(mnist_root)
    path = mnist_root / "MNIST/raw/train-images-idx3-ubyte"
    whole = path.read_bytes()
    for content, reason in (
        (b"<html>", "no idx file"),
        (whole[:9], "within its header"),
        (whole[:-1], r"size \(6, 28, 28\) it needs 4704 bytes"),
        (mnist_files()["train-labels-idx1-ubyte"], "no images"),
        (idx(np.zeros((5, 28, 28), np.uint8)), "5 train images and 6 labels"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            datasets.MNIST(mnist_root)


def test_idx_files_of_wider_types(tmp_path):
    path = tmp_path / "numbers"
    path.write_bytes(struct.pack(">HBBI3f", 0, 13, 1, 3, 1.5, -2.0, 0.25))
    numbers = read_sn3_pascalvincent_tensor(path)
    assert numbers.dtype == danlu.float32
    assert numbers.tolist() == [1.5, -2.0, 0.25]
    with pytest.raises(ValueError, match="float32"):
        read_image_file(path)


BATCHWISE = [
    transforms.ToTensor(),
    transforms.PILToTensor(),
    transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]),
    transforms.Compose([transforms.PILToTensor(), transforms.ConvertImageDtype(danlu.float32)]),
]
ONE_BY_ONE = [
    transforms.Compose([transforms.RandomCrop(20), transforms.ToTensor()]),
    transforms.Compose([transforms.ToTensor(), transforms.RandomHorizontalFlip()]),
    transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda image: image.sum())]),
    lambda image: danlu.tensor(image.size),
]


@pytest.mark.parametrize("transform", BATCHWISE + ONE_BY_ONE)
def test_batches_equal_their_samples(mnist_root, transform):
    dataset = datasets.MNIST(mnist_root, transform=transform, target_transform=lambda label: -label)
    danlu.manual_seed(1)
    expected = [dataset[index] for index in (4, 0, 2)]
    danlu.manual_seed(1)
    batch = dataset.__getitems__([4, 0, 2])
    assert [label for _, label in batch] == [label for _, label in expected] == [-4, 0, -2]
    for (image, _), (other, _) in zip(batch, expected):
        assert image.dtype == other.dtype
        assert danlu.equal(image, other)


def test_batches_respect_a_getitem_of_ones_own(mnist_root):
    class MNIST(datasets.MNIST):
        def __getitem__(self, index):
            return index, *super().__getitem__(index)

    dataset = MNIST(mnist_root, transform=transforms.ToTensor())
    numbers, images, _ = next(iter(DataLoader(dataset, batch_size=4)))
    assert numbers.tolist() == [0, 1, 2, 3]
    assert images.shape == (4, 1, 28, 28)


def test_batches_see_what_was_assigned(mnist_root):
    dataset = datasets.MNIST(mnist_root, transform=transforms.ToTensor())
    dataset.data, dataset.targets = dataset.data[4:], dataset.targets[4:]
    images, labels = next(iter(DataLoader(dataset, batch_size=9)))
    assert images.shape == (2, 1, 28, 28)
    assert labels.tolist() == [4, 5]


# ---------------------------------------------------------------- CIFAR
def cifar_files() -> dict[str, bytes]:
    generator = np.random.RandomState(1)

    def batch(count):
        pixels = generator.randint(0, 256, (count, 3072)).astype(np.uint8)
        return pickle.dumps({"data": pixels, "labels": list(range(count))}, protocol=2)

    names = ["plane", "car", "bird"]
    return {
        "data_batch_1": batch(3),
        "data_batch_2": batch(2),
        "test_batch": batch(1),
        "batches.meta": pickle.dumps({"label_names": names}, protocol=2),
    }


def little_cifar(files):
    """CIFAR10 with the checksums of our own files."""

    class Little(datasets.CIFAR10):
        train_list = [[name, md5(files[name])] for name in files if name.startswith("data")]
        test_list = [["test_batch", md5(files["test_batch"])]]
        meta = {
            "filename": "batches.meta",
            "key": "label_names",
            "md5": md5(files["batches.meta"]),
        }

    return Little


def write_cifar(root, files):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_cifar(tmp_path):
    files = cifar_files()
    folder = write_cifar(tmp_path, files)
    dataset = little_cifar(files)(str(tmp_path), transform=transforms.ToTensor())
    assert dataset.data.shape == (5, 32, 32, 3)
    assert dataset.targets == [0, 1, 2, 0, 1]
    assert dataset.class_to_idx == {"plane": 0, "car": 1, "bird": 2}
    row = pickle.loads(files["data_batch_2"])["data"][0]
    expected = row.reshape(3, 32, 32).astype(np.float32) / 255
    assert np.array_equal(dataset[3][0].numpy(), expected)
    assert np.array_equal(dataset.__getitems__([3])[0][0].numpy(), expected)
    assert len(little_cifar(files)(tmp_path, train=False)) == 1
    (folder / "test_batch").write_bytes(b"broken")
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        little_cifar(files)(tmp_path)


def test_cifar_batches_run_no_code(tmp_path):
    files = cifar_files()
    files["data_batch_1"] = b"cos\nsystem\n(S'touch /tmp/owned'\ntR."
    write_cifar(tmp_path, files)
    with pytest.raises(RuntimeError, match=r"data_batch_1 is no batch of CIFAR: .*os\.system"):
        little_cifar(files)(tmp_path)


def test_cifar100_layout():
    assert datasets.CIFAR100.base_folder == "cifar-100-python"
    assert datasets.CIFAR100.meta["key"] == "fine_label_names"


# ---------------------------------------------------------------- FakeData
def test_fake_data_are_torchvisions():
    dataset = datasets.FakeData(size=3, image_size=(3, 2, 2))
    image, label = dataset[0]
    assert list(image.tobytes()) == [136, 236, 73, 182, 156, 154, 213, 102, 104, 144, 213, 46]
    assert (label, dataset[1][1], len(dataset)) == (4, 3, 3)
    shifted = datasets.FakeData(size=3, image_size=(3, 2, 2), random_offset=1)
    assert shifted[0][0].tobytes() == dataset[1][0].tobytes()
    with pytest.raises(IndexError, match="3 of 3 images"):
        dataset[3]


def test_fake_data_leave_the_global_generator_alone():
    danlu.manual_seed(0)
    expected = danlu.rand(1)
    danlu.manual_seed(0)
    datasets.FakeData(size=1, image_size=(1, 2, 2))[0]
    assert danlu.equal(danlu.rand(1), expected)


# ---------------------------------------------------------------- downloads
class Handler(SimpleHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path.startswith("/short/"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "server"
    folder.mkdir()
    handler = partial(Handler, directory=str(folder))
    Handler.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def mnist_on(folder, mirrors):
    """MNIST whose files lie in the server's folder."""
    resources = []
    for name, content in mnist_files().items():
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", md5(packed)))
    return type("MNIST", (datasets.MNIST,), {"mirrors": mirrors, "resources": resources})


def test_mnist_is_downloaded_once(server, tmp_path, capfd):
    folder, url = server
    kind = mnist_on(folder, [url])
    dataset = kind(tmp_path / "data", download=True)
    assert len(dataset) == 6
    assert "train-images-idx3-ubyte.gz" in "".join(capfd.readouterr())
    assert not [name for name in os.listdir(dataset.raw_folder) if "partial" in name]
    assert len(Handler.asked) == 4
    kind(tmp_path / "data", download=True)
    assert len(Handler.asked) == 4


def test_the_next_mirror_is_tried(server, tmp_path):
    folder, url = server
    kind = mnist_on(folder, [url + "gone/", url])
    assert len(kind(tmp_path / "data", download=True)) == 6


def test_a_wrong_checksum_keeps_nothing(server, tmp_path):
    folder, url = server
    kind = mnist_on(folder, [url])
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(RuntimeError, match=r"Error downloading train-images.*\n.*MD5 sum"):
        kind(tmp_path / "data", download=True)
    assert os.listdir(tmp_path / "data/MNIST/raw") == []


def test_without_a_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(URLError) as caught:
        utils.download_url(url + "a.zip", tmp_path)
    assert "check the network connection" in str(caught.value)
    assert str(tmp_path / "a.zip") in str(caught.value)
    offline = type("MNIST", (datasets.MNIST,), {"mirrors": [url]})
    with pytest.raises(RuntimeError, match="check the network connection"):
        offline(tmp_path, download=True)


def test_a_server_that_refuses_or_breaks_off(server, tmp_path):
    _, url = server
    with pytest.raises(URLError, match="the server answers 404"):
        utils.download_url(url + "gone.zip", tmp_path)
    with pytest.raises((RuntimeError, URLError), match=r"broke off|cannot be reached"):
        utils.download_url(url + "short/a.zip", tmp_path)
    assert [name for name in os.listdir(tmp_path) if name != "server"] == []


def test_cifar_is_downloaded_and_unpacked(server, tmp_path):
    folder, url = server
    files = cifar_files()
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    kind = little_cifar(files)
    kind.url = url + "cifar-10-python.tar.gz"
    kind.tgz_md5 = md5((folder / "cifar-10-python.tar.gz").read_bytes())
    assert len(kind(tmp_path / "data", download=True)) == 5
    assert sorted(os.listdir(tmp_path / "data")) == [
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
    ]
    kind(tmp_path / "data", download=True)
    assert len(Handler.asked) == 1


# ---------------------------------------------------------------- archives
def test_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner/text", "hello")
    target = tmp_path / "out"
    assert utils.extract_archive(tmp_path / "a.zip", target, remove_finished=True) == str(target)
    assert (target / "inner/text").read_text() == "hello"
    assert not (tmp_path / "a.zip").exists()
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"hello"))
    assert utils.extract_archive(tmp_path / "b.gz") == str(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"hello"
    with pytest.raises(RuntimeError, match=r"\.rar"):
        utils.extract_archive(tmp_path / "c.rar")


def test_archives_stay_in_their_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../outside", "hello")
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    up = tarfile.TarInfo("../outside")
    for name, member in (("b.tar", link), ("c.tar", up)):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.addfile(member)
    for name in ("a.zip", "b.tar", "c.tar"):
        with pytest.raises(RuntimeError, match="is not unpacked"):
            utils.extract_archive(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "outside").exists()


def test_checksums(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    assert utils.calculate_md5(path) == md5(b"hello")
    assert utils.check_integrity(path)
    assert utils.check_integrity(path, md5(b"hello"))
    assert not utils.check_integrity(path, md5(b"other"))
    assert not utils.check_integrity(tmp_path / "none")
