"""Saving and loading without PyTorch: round trips, sharing, and files that mean harm."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import danlu
from danlu.backend import dtypes
from danlu.serialization import archive
from danlu.tensor import wrap

DTYPES = [each for each in dtypes.ALL if each is not dtypes.complex32]


def saved(value, **options):
    file = io.BytesIO()
    danlu.save(value, file, **options)
    file.seek(0)
    return file


def round_trip(value, load=None, **options):
    return danlu.load(saved(value, **options), **(load or {}))


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, danlu.Tensor):
        assert one.dtype is other.dtype
        assert one.shape == other.shape
        assert one.requires_grad == other.requires_grad
        assert one._array.tobytes() == other._array.tobytes()
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_same(a, b)
    else:
        assert one == other


def ranged(*shape, dtype="float32"):
    return wrap(np.arange(np.prod(shape)).astype(dtype).reshape(shape))


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_dtypes(self, dtype, zipped):
        tensor = wrap(np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype.numpy))
        assert_same(round_trip(tensor, _use_new_zipfile_serialization=zipped), tensor)

    def test_containers(self):
        value = {
            "ordered": OrderedDict(a=1, b=[1.5, None, True, (1, (2,)), "é\udcff"]),
            3: {1, 2},
            "frozen": frozenset((1, 2)),
            "count": Counter("aab"),
            "bytes": b"\x00\xff",
            "empty": (b"", bytearray(), (), [], {}, set(), ""),
            "complex": 1 - 2j,
            "long": 1 << 90,
            "size": danlu.Size([2, 3]),
            "dtype": danlu.bfloat16,
            "device": [danlu.device("cpu"), danlu.device("cuda", 1)],
            "layout": ranged(1).layout,
        }
        for protocol in (2, 3, 4, 5):
            assert_same(round_trip(value, pickle_protocol=protocol), value)
        grouped = defaultdict(list, {1: [2]})
        again = round_trip(grouped)
        assert again == grouped
        assert again.default_factory is list

    @pytest.mark.parametrize(
        "view",
        [
            lambda a: a[2:5],
            lambda a: a.T,
            lambda a: a[:, 1::2],
            lambda a: a[3],
            lambda a: a[1, 1:2],
            lambda a: a[5:5],
            lambda a: np.broadcast_to(a[0], (2, 6)),
            lambda a: np.lib.stride_tricks.sliding_window_view(a[0], 3),
            lambda a: np.lib.stride_tricks.as_strided(a, (2, 2), (8, 4)),
            lambda a: a[0, 0:0],
        ],
    )
    def test_views_keep_their_storage(self, view):
        base = ranged(6, 6)
        array = view(base._array)
        again, base_again = round_trip([wrap(array), base])
        assert_same(again, wrap(array))
        if array.size:
            assert again._array.strides == array.strides
            assert again._array.size <= 36
            base_again._array.flat[:] = 7
            assert (again._array == 7).all()
            assert again._writes is base_again._writes

    def test_one_storage_is_written_once(self):
        base = ranged(100)
        views = [wrap(base._array[i:]) for i in range(10)]
        names = zipfile.ZipFile(saved(views)).namelist()
        assert [name for name in names if "/data/" in name] == ["archive/data/0"]

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(6.0)[::-1],
            np.zeros(3, [("tag", "u1"), ("value", "<f4")])["value"],
            np.frombuffer(b"x" + b"\0" * 16, np.float32, offset=1),
            np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            np.zeros((2, 3, 4)).transpose(1, 0, 2) + 1,
        ],
        ids=["reversed", "field", "foreign", "fortran", "permuted"],
    )
    def test_unusual_memory(self, array):
        for carry in (round_trip, lambda t: pickle.loads(pickle.dumps(t))):
            again = carry(wrap(array))
            assert_same(again, wrap(array))
            again._array[...] = 1

    def test_gradients_and_parameters(self):
        leaf = ranged(2)
        leaf.requires_grad = True
        parameter = danlu.nn.Parameter(ranged(2, 2))
        frozen = danlu.nn.Parameter(ranged(2), requires_grad=False)
        value = [leaf, parameter, frozen, parameter]
        again = round_trip(value)
        assert_same(again, value)
        assert again[1] is again[3]
        assert again[1].is_leaf

    def test_attributes_and_subclasses(self):
        tagged = ranged(2)
        tagged.tag = "x"
        parameter = danlu.nn.Parameter(ranged(2))
        parameter.group = 3
        again = round_trip([tagged, parameter])
        assert again[0].tag == "x"
        assert again[1].group == 3
        assert type(again[1]) is danlu.nn.Parameter

    def test_whole_models_are_for_trusted_files(self):
        model = danlu.nn.Sequential(danlu.nn.Linear(2, 3), danlu.nn.ReLU())
        again = round_trip(model, {"weights_only": False})
        assert repr(again) == repr(model)
        assert_same(dict(again.state_dict()), dict(model.state_dict()))
        with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.Sequential"):
            round_trip(model)

    def test_names_that_danlu_lacks(self):
        unknown = with_pickle(b"\x80\x02ctorch.nn\nNoSuchLayer\n.")
        with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.NoSuchLayer"):
            danlu.load(unknown, weights_only=False)

    def test_optimizer_state(self):
        state = {
            "state": {0: {"step": wrap(np.array(3.0, "float32")), "exp_avg": ranged(2, 3)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "amsgrad": False, "params": [0]}],
        }
        assert_same(round_trip(state), state)

    def test_state_dict_metadata(self):
        state = OrderedDict(weight=ranged(2))
        state._metadata = OrderedDict({"": {"version": 1}})
        assert round_trip(state)._metadata == state._metadata

    @settings(max_examples=40, deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text()
            | st.binary()
            | hnp.arrays(
                st.sampled_from([np.float32, np.int64, np.bool_, np.complex128]),
                hnp.array_shapes(min_dims=0, min_side=0, max_side=3),
            ).map(wrap),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
            max_leaves=8,
        ),
        st.sampled_from([2, 4, 5]),
    )
    def test_any_value(self, value, protocol):
        assert_same(round_trip(value, pickle_protocol=protocol), value)
        legacy = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": False}
        assert_same(round_trip(value, **legacy), value)


class TestFiles:
    def test_paths_are_replaced_only_when_complete(self, tmp_path):
        path = tmp_path / "model.pt"
        danlu.save(ranged(3), path)
        before = path.read_bytes()
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            danlu.save([ranged(3), lambda: 0], str(path))
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["model.pt"]
        assert_same(danlu.load(path), ranged(3))

    def test_links_and_modes_stay(self, tmp_path):
        real, link = tmp_path / "real.pt", tmp_path / "link.pt"
        danlu.save(1, real)
        real.chmod(0o640)
        link.symlink_to(real)
        danlu.save(2, link)
        assert link.is_symlink()
        assert danlu.load(real) == 2
        assert real.stat().st_mode & 0o777 == 0o640

    def test_missing_places(self, tmp_path):
        with pytest.raises(RuntimeError, match=r"Parent directory .*nowhere does not exist"):
            danlu.save(1, tmp_path / "nowhere" / "x.pt")
        with pytest.raises(FileNotFoundError):
            danlu.load(tmp_path / "x.pt")
        with pytest.raises(AttributeError, match="'write' attribute"):
            danlu.save(1, 3)
        with pytest.raises(AttributeError, match="seekable"):
            danlu.load(3)

    def test_stream_that_cannot_seek(self):
        class Pipe:
            def __init__(self):
                self.content = b""

            def write(self, data):
                self.content += bytes(data)

        pipe = Pipe()
        danlu.save([ranged(3)], pipe)
        assert_same(danlu.load(io.BytesIO(pipe.content)), [ranged(3)])

    def test_checkpoint_behind_other_data(self):
        file = io.BytesIO(b"head" + saved(ranged(3)).getvalue())
        file.seek(4)
        assert_same(danlu.load(file), ranged(3))

    def test_mmap(self, tmp_path):
        path = tmp_path / "x.pt"
        danlu.save([ranged(4), ranged(0)], path)
        before = path.read_bytes()
        loaded = danlu.load(path, mmap=True)
        assert_same(loaded, [ranged(4), ranged(0)])
        loaded[0]._array[:] = 9
        assert path.read_bytes() == before
        assert len(saved(loaded).getvalue()) < 2000
        with pytest.raises(ValueError, match="must be a file path"):
            danlu.load(io.BytesIO(before), mmap=True)

    def test_large_files_use_64_bit_fields(self, monkeypatch):
        monkeypatch.setattr(archive, "ZIP64_LIMIT", 600)
        value = [ranged(10), ranged(1000), ranged(3)]
        assert_same(round_trip(value), value)

    def test_other_byte_order(self):
        content = saved(wrap(np.arange(3, dtype="<f4"))).getvalue()
        swapped = rewritten(
            content,
            {"byteorder": b"big", "data/0": np.arange(3, dtype=">f4").tobytes()},
        )
        assert danlu.load(swapped)._array.tolist() == [0, 1, 2]

    def test_one_memory_as_two_dtypes_is_refused(self):
        array = np.zeros(4, "float32")
        with pytest.raises(RuntimeError, match="view the same data as different types"):
            saved([wrap(array), wrap(array.view("int32"))])


class TestMapLocation:
    @pytest.mark.parametrize(
        "where",
        [
            "cpu",
            b"cpu",
            danlu.device("cpu"),
            {"cuda:0": "cpu"},
            lambda s, loc: s,
            lambda s, loc: None,
        ],
    )
    def test_cpu(self, where):
        assert_same(round_trip(ranged(2), {"map_location": where}), ranged(2))

    def test_a_file_from_a_gpu(self):
        on_gpu = from_gpu(saved(ranged(2)).getvalue())
        with pytest.raises(RuntimeError, match=r"torch\.cuda\.is_available\(\) is False"):
            danlu.load(on_gpu())
        for where in ("cpu", {"cuda:0": "cpu"}, lambda storage, location: storage):
            assert_same(danlu.load(on_gpu(), map_location=where), ranged(2))

    def test_places_that_are_not_there(self):
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
            round_trip(ranged(2), {"map_location": "cuda"})
        with pytest.raises(RuntimeError, match="don't know how to restore data location"):
            round_trip(ranged(2), {"map_location": "moon"})
        with pytest.raises(TypeError, match="map_location must be"):
            round_trip(ranged(2), {"map_location": 3})


def rewritten(content, changes):
    """A checkpoint with some records replaced."""
    out, source = io.BytesIO(), zipfile.ZipFile(io.BytesIO(content))
    with zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            short = name.partition("/")[2]
            target.writestr(name, changes.get(short, source.read(name)))
    out.seek(0)
    return out


def from_gpu(content):
    pickled = zipfile.ZipFile(io.BytesIO(content)).read("archive/data.pkl")
    moved = pickled.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
    return lambda: rewritten(content, {"data.pkl": moved})


# ---------------------------------------------------------------- hostile files
executed = []


def shout(*words):
    executed.append(words)
    return words


class Evil:
    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


class Plain:
    def __init__(self, value):
        self.value = value


def with_pickle(pickled):
    content = saved(ranged(4)).getvalue()
    return rewritten(content, {"data.pkl": pickled})


def refuses(file, *words, error=pickle.UnpicklingError):
    with pytest.raises(error) as caught:
        danlu.load(file)
    message = str(caught.value)
    assert message.count("\n") <= 2
    for word in words:
        assert word in message
    assert not executed


class TestHostileFiles:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize("function", [os.system, eval, exec, shout, getattr, __import__])
    def test_nothing_is_executed(self, function, protocol, tmp_path):
        mark = tmp_path / "executed"
        argument = f"touch {mark}" if function is os.system else "1"
        refuses(saved({"x": Evil(function, argument)}, pickle_protocol=protocol), "GLOBAL")
        refuses(with_pickle(pickle.dumps(Evil(function, argument), protocol)), "GLOBAL")
        legacy = saved(
            Evil(function, argument), pickle_protocol=protocol, _use_new_zipfile_serialization=False
        )
        refuses(legacy, "GLOBAL")
        assert not mark.exists()

    def test_the_refusal_says_what_to_do(self, tmp_path):
        path = tmp_path / "model.pt"
        danlu.save(Plain(1), path)
        refuses(path, str(path), "Plain", "add_safe_globals", "weights_only=False")
        refuses(saved(Evil(os.system, "true")), "system", "never allowed")

    def test_allowing_one_class(self):
        file = saved([Plain(ranged(2))])
        with danlu.serialization.safe_globals([Plain]):
            assert_same(danlu.load(file)[0].value, ranged(2))
        assert danlu.serialization.get_safe_globals() == []
        file.seek(0)
        refuses(file, "Plain")
        assert type(danlu.load(saved(Plain(1)), weights_only=False)) is Plain

    def test_blocked_modules_cannot_be_allowed(self):
        with danlu.serialization.safe_globals([(os.system, "posix.system")]):
            refuses(saved(Evil(os.system, "true")), "never allowed")

    def test_trusted_files_run(self):
        try:
            assert danlu.load(saved(Evil(shout, 1)), weights_only=False) == (1,)
            assert executed == [(1,)]
        finally:
            executed.clear()

    def test_pickle_module_is_for_trusted_files(self):
        with pytest.raises(RuntimeError, match="Can not safely load weights"):
            danlu.load(saved(1), pickle_module=pickle, weights_only=True)
        assert danlu.load(saved(1), pickle_module=pickle) == 1

    @pytest.mark.parametrize("part", ["offset", "size", "stride", "negative", "many", "bool"])
    def test_views_outside_of_the_storage(self, part):
        geometry = {
            "offset": (1, (4,), (1,)),
            "size": (0, (5,), (1,)),
            "stride": (0, (4,), (2,)),
            "negative": (3, (4,), (-1,)),
            "many": (0, (1,) * 65, (1,) * 65),
            "bool": (0, (True,), (1,)),
        }[part]
        refuses(with_pickle(tensor_pickle(*geometry)), "Cannot load")

    @pytest.mark.parametrize("key", ["../../etc/passwd", "9", "/etc/passwd", "0/../0"])
    def test_storage_keys_name_records_alone(self, key):
        file = with_pickle(tensor_pickle(0, (4,), (1,), key=key))
        refuses(file, "missing", error=RuntimeError)

    @pytest.mark.parametrize("numel", [3, 5, 1 << 60, -1])
    def test_storage_sizes_that_do_not_match(self, numel):
        refuses(with_pickle(tensor_pickle(0, (1,), (1,), numel=numel)), "Cannot load")

    def test_expanded_views_are_views(self):
        tensor = danlu.load(with_pickle(tensor_pickle(0, (1 << 40,), (0,))))
        assert tensor.shape == (1 << 40,)

    @pytest.mark.parametrize(
        "pickled",
        [
            b"",
            b".",
            b"\x80\x02.",
            b"\x80\x02}",
            b"\x80\x02X\xff\xff\xff\x7fabc.",
            b"\x80\x02\x8a\xff.",
            b"\x80\x02h\x05.",
            b"\x80\x02e.",
            b"\x80\x02K\x01K\x02s.",
            b"\x80\x02K\x01)R.",
            b"\x80\x02ccollections\nOrderedDict\n)R}X\x04\0\0\0keysK\x01sb.",
            b"\x80\x02c__builtin__\nlist\n)R.",
            b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
            b"\x80\x02ctorch\nfloat32\n)R.",
            b"\x80\x02ctorch\nFloatStorage\n)R.",
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x05\0\0\0helloK\x01sb.",
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\nlist\n"
            b"ctorch\nTensor\n)}tR.",
            b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0hex\x86R.",
            b"\x80\x02ccollections\ndefaultdict\nccollections\ndefaultdict\n\x85R.",
            b"\x80\x02Q.",
            b"\x80\x02K\x01Q.",
            b"\x80\x02\x82\x01.",
            b"garbage",
            b"cos\nsystem\n(S'true'\ntR.",
            b"(dp0\nS'a'\np1\nI1\ns.",
        ],
    )
    def test_malformed_pickles(self, pickled):
        refuses(with_pickle(pickled), "the file")

    def test_nested_keys_do_not_exhaust_the_stack(self):
        deep = b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s."
        refuses(with_pickle(deep), "tuple of too many parts")
        shared = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."
        refuses(with_pickle(shared), "tuple of too many parts")
        called = b"\x80\x02)" + b"\x85" * 200_000 + b")R."
        refuses(with_pickle(called), "not allowed")

    def test_copies_are_limited_by_the_size_of_the_file(self):
        encode = b"c_codecs\nencode\n"
        text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x000"
        again = b"(" + (encode + b"h\x00\x85R") * 1000 + b"t."
        refuses(with_pickle(b"\x80\x02" + text + again), "more often than its size")

    def test_truncated_files(self, tmp_path):
        content = saved({"a": ranged(100)}).getvalue()
        for length in (1, 4, 30, 100, len(content) // 2, len(content) - 1):
            path = tmp_path / f"{length}.pt"
            path.write_bytes(content[:length])
            refuses(path, str(path), error=(RuntimeError, pickle.UnpicklingError))
        refuses(io.BytesIO(b""), "empty", error=EOFError)

    def test_truncated_legacy_files(self):
        content = saved({"a": ranged(10)}, _use_new_zipfile_serialization=False).getvalue()
        for length in range(1, len(content), 7):
            refuses(io.BytesIO(content[:length]), "the file")

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def test_damaged_files_give_one_clear_error_or_a_value(self, data):
        zipped = data.draw(st.booleans())
        content = bytearray(
            saved({"a": ranged(3), "b": [1.5]}, _use_new_zipfile_serialization=zipped).getvalue()
        )
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        with contextlib.suppress(pickle.UnpicklingError, RuntimeError, EOFError):
            danlu.load(io.BytesIO(bytes(content)))

    def test_archives_that_lie(self):
        def archived(*records, compression=zipfile.ZIP_STORED):
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", compression) as target:
                for name, content in records:
                    target.writestr(name, content)
            out.seek(0)
            return out

        bomb = archived(("a/data.pkl", b"\0" * 10_000_000), compression=zipfile.ZIP_DEFLATED)
        refuses(bomb, "compressed", error=RuntimeError)
        refuses(archived(("a/x", b"1")), "without a data.pkl", error=RuntimeError)
        with pytest.warns(UserWarning, match="Duplicate name"):
            twice = archived(("a/data.pkl", b"1"), ("a/data.pkl", b"2"))
        refuses(twice, "two records", error=RuntimeError)
        script = archived(("a/data.pkl", b"\x80\x02}."), ("a/constants.pkl", b""))
        refuses(script, "TorchScript", error=RuntimeError)

    def test_a_record_that_claims_more_than_the_file_has(self):
        content = bytearray(saved(ranged(4)).getvalue())
        begin = content.rindex(b"archive/data/0") - 46
        struct.pack_into("<2L", content, begin + 20, 1 << 31, 1 << 31)
        refuses(io.BytesIO(bytes(content)), "claims", error=RuntimeError)

    def test_a_flipped_bit_in_the_data_is_noticed(self):
        content = bytearray(saved(wrap(np.full(4, 1.25, "float32"))).getvalue())
        place = content.index(np.full(4, 1.25, "float32").tobytes())
        content[place] ^= 1
        refuses(io.BytesIO(bytes(content)), "Bad CRC", error=RuntimeError)


def tensor_pickle(offset, size, stride, key="0", numel=4):
    """The pickle of one tensor, with whatever geometry is wanted."""

    class Reference:
        def __reduce__(self):
            raise AssertionError

    class Pickler(pickle._Pickler):
        def persistent_id(self, obj):
            return obj.entry if isinstance(obj, Reference) else None

        def reducer_override(self, obj):
            return obj.parts if isinstance(obj, Evil) else NotImplemented

        def save(self, obj, save_persistent_id=True):
            if isinstance(obj, Named):
                self.write(pickle.GLOBAL + obj.where)
            else:
                super().save(obj, save_persistent_id)

        def save_reduce(self, function, arguments, *rest, obj=None):
            self.save(function)
            self.save(arguments)
            self.write(pickle.REDUCE)

    class Named:
        def __init__(self, where):
            self.where = where

    reference = Reference()
    reference.entry = ("storage", Named(b"torch\nFloatStorage\n"), key, "cpu", numel)
    hooks = Evil(Named(b"collections\nOrderedDict\n"))
    rebuild = Named(b"torch._utils\n_rebuild_tensor_v2\n")
    out = io.BytesIO()
    Pickler(out, 2).dump(Evil(rebuild, reference, offset, size, stride, False, hooks))
    return out.getvalue()


class TestPlainPickle:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_views_keep_sharing(self, protocol):
        base = ranged(4, 3)
        leaf = ranged(2)
        leaf.requires_grad = True
        parameter = danlu.nn.Parameter(ranged(2))
        value = [base, wrap(base._array.T), leaf, parameter, wrap(base._array[1:])]
        again = pickle.loads(pickle.dumps(value, protocol))
        assert_same(again, value)
        again[0]._array[...] = 5
        assert (again[1]._array == 5).all()
        assert (again[4]._array == 5).all()

    @pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
    def test_dtypes(self, dtype):
        tensor = wrap(np.array([0, 1, 2]).astype(dtype.numpy))
        assert_same(pickle.loads(pickle.dumps(tensor)), tensor)

    def test_tensor_reduce_in_one_process_shares_memory(self):
        from danlu.serialization.rebuild import tensor_reduce

        tensor = ranged(3)
        function, arguments = tensor_reduce(tensor)
        again = function(*arguments)
        again._array[0] = 9
        assert tensor._array[0] == 9
        assert again._writes is tensor._writes

    def test_subclass(self):
        again = pickle.loads(pickle.dumps(ranged(2).as_subclass(Tagged)))
        assert type(again) is Tagged


class Tagged(danlu.Tensor):
    pass


def test_saving_does_not_change_what_is_saved():
    value = {"a": ranged(3), "b": [ranged(2)]}
    before = copy.deepcopy({"a": value["a"]._array.tolist()})
    saved(value)
    assert value["a"]._array.tolist() == before["a"]
