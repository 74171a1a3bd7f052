"""Reads what ``torch.save`` has written, without letting it run anything and without a copy.

A state comes from another process, over a store or a disk. Python's pickles may call whatever they name, so
here only that may be named which tensors and plain containers are made of, and tensors are made by us. Of
``torch.load``, ``weights_only`` is meant for that; in PyTorch 1.13 it can't read an optimiser's state, for it
knows no floating-point numbers, and there another unpickler can't be given, either.

The form is a zip file whose members aren't compressed: the pickle ``data.pkl``, and ``data/KEY`` for each
storage. Tensors are views of the bytes that were read.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from typing import Any, Dict, Tuple, Union

import torch

Buffer = Union[bytes, bytearray, memoryview]

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


def _rebuild_tensor(
    flat: torch.Tensor, offset: int, size: Tuple[int, ...], stride: Tuple[int, ...], *_: Any
) -> torch.Tensor:
    # PyTorch checks that no element lies outside of what is there.
    rebuilt: torch.Tensor = flat.as_strided(size, stride, offset)
    return rebuilt


def _rebuild_parameter(data: torch.Tensor, requires_grad: bool, *_: Any) -> torch.nn.Parameter:
    return torch.nn.Parameter(data, requires_grad)


_NAMED: Dict[Tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("collections", "Counter"): collections.Counter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("builtins", "set"): set,
    # As the protocol of Python 2 has it, which PyTorch uses.
    ("__builtin__", "set"): set,
}


class _Unpickler(pickle.Unpickler):
    """Names that aren't allowed raise :class:`pickle.UnpicklingError`."""

    def __init__(self, data: bytes, storages: "_Storages") -> None:
        super().__init__(io.BytesIO(data))
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NAMED:
            return _NAMED[module, name]
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "_codecs" and name == "encode":
            # How older protocols write bytes.
            return _encode
        found = getattr(torch, name, None) if module == "torch" else None
        if isinstance(found, torch.dtype):
            return found
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no tensor is made of")

    def persistent_load(self, saved: Any) -> torch.Tensor:
        kind, dtype, key, _, count = saved
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"{kind!r} of {dtype!r} is no storage")
        return self._storages.get(str(key), dtype, int(count))


def _encode(text: str, how: str) -> bytes:
    if how != "latin1":
        raise pickle.UnpicklingError(f"bytes in {how!r}")
    return text.encode("latin1")


class _Storages:
    """The members of the file that hold numbers."""

    def __init__(self, payload: bytearray, archive: zipfile.ZipFile, folder: str) -> None:
        self._payload, self._archive, self._folder = payload, archive, folder

    def get(self, key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        info = self._archive.getinfo(f"{self._folder}/data/{key}")
        size = torch.empty(0, dtype=dtype).element_size()
        if info.compress_type != zipfile.ZIP_STORED or count * size != info.file_size:
            raise pickle.UnpicklingError(f"storage {key} is not {count} numbers of {size} bytes")
        if count == 0:
            return torch.empty(0, dtype=dtype)
        start = self._start(info)
        if start + info.file_size > len(self._payload):
            raise pickle.UnpicklingError(f"storage {key} lies outside of the file")
        return torch.frombuffer(self._payload, dtype=dtype, count=count, offset=start)

    def _start(self, info: zipfile.ZipInfo) -> int:
        """Where a member's bytes begin: behind its own header, whose length only it knows."""
        header = _LOCAL_HEADER.unpack_from(self._payload, info.header_offset)
        return info.header_offset + _LOCAL_HEADER.size + int(header[-2]) + int(header[-1])


class _File(io.RawIOBase):
    """Bytes as a file, without a copy."""

    def __init__(self, data: bytearray) -> None:
        super().__init__()
        self._view, self._place = memoryview(data), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._view)}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, into: Any) -> int:
        part = self._view[self._place : self._place + len(into)]
        into[: len(part)] = part
        self._place += len(part)
        return len(part)


def read(payload: Buffer) -> Any:
    """What was saved; tensors are parts of ``payload`` if that can be written to.

    Raises what it finds wrong: whatever the bytes make :mod:`zipfile`, :mod:`pickle` and PyTorch raise.
    """
    whole = payload if isinstance(payload, bytearray) else bytearray(payload)
    with zipfile.ZipFile(_File(whole)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("it isn't what torch.save writes")
        folder = pickles[0].rpartition("/")[0]
        storages = _Storages(whole, archive, folder)
        return _Unpickler(archive.read(pickles[0]), storages).load()
