"""Arrays between memory pages that may not be touched: a kernel that reads or writes beside them
ends the process at once, instead of passing unnoticed."""

import ctypes
import mmap

import numpy as np

_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


def guarded(array, end=True):
    """A copy whose last byte is the last before a forbidden page (`end`), or whose first byte is
    the first after one. C order; the pages live as long as the copy."""
    array = np.ascontiguousarray(array)
    pages = -(-max(1, array.nbytes) // _PAGE)
    region = mmap.mmap(-1, (pages + 2) * _PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(region))
    for page in (0, pages + 1):
        forbidden = ctypes.c_void_p(start + page * _PAGE)
        if _libc.mprotect(forbidden, ctypes.c_size_t(_PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = _PAGE + (pages * _PAGE - array.nbytes if end else 0)
    copy = np.frombuffer(region, dtype=array.dtype, count=array.size, offset=offset)
    copy = copy.reshape(array.shape)
    copy[...] = array
    return copy
