"""What computes here, as NVIDIA's library tells it; what it will not tell is None."""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from backend.core.records import Record
from backend.hardware.host import host_memory

GIB = 2**30


class Gpu(Record):
    """A GPU, or a MIG instance (``mig``), which is a GPU of its own for those who compute.

    ``total`` and ``free`` are bytes of its memory.
    """

    index: int
    uuid: str | None
    name: str | None
    total: int | None
    free: int | None
    mig: bool = False


class Machine(Record):
    """``reason`` says why there is no GPU, where there is none; ``memory`` is the host's, in
    bytes, or its container's if that is limited; ``visible`` are the GPUs that
    CUDA_VISIBLE_DEVICES leaves, in its order."""

    gpus: tuple[Gpu, ...] = ()
    visible: tuple[Gpu, ...] = ()
    driver: str | None = None
    reason: str = ""
    cores: int = 1
    memory: int | None = None


def survey(nvml: Any = None, wanted: str | None = None) -> Machine:
    """Ask the library (``nvml``: pynvml, or what is like it) what is here; never raises for it.

    ``wanted`` stands for CUDA_VISIBLE_DEVICES: indices, or beginnings of UUIDs.
    """
    gpus, driver, reason = _ask(nvml)
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES") if wanted is None else wanted
    left = visible(gpus, wanted)
    if gpus and not left:
        reason = f"CUDA_VISIBLE_DEVICES is '{wanted}', which names no GPU of this machine"
    return Machine(
        gpus=gpus,
        visible=left,
        driver=driver,
        reason=reason,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory=host_memory()[1],
    )


def _ask(nvml: Any) -> tuple[tuple[Gpu, ...], str | None, str]:
    nvml, reason = opened(nvml)
    if nvml is None:
        return (), None, reason
    try:
        gpus = tuple(gpu for gpu, _ in cards(nvml))
        driver = told(nvml, nvml.nvmlSystemGetDriverVersion)
        return gpus, driver, "" if gpus else "the driver knows no GPU"
    except nvml.NVMLError as error:
        return (), None, f"NVIDIA's library says: {error}"
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def opened(nvml: Any = None) -> tuple[Any, str]:
    """The library, to be closed with ``nvmlShutdown`` as often as it was opened; or None, and
    why."""
    try:
        nvml = nvml or importlib.import_module("pynvml")  # an optional package
    except ImportError:
        return None, "the package nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:  # no library, no driver, no permission, or a broken one
        return None, f"NVIDIA's library says: {error}"
    return nvml, ""


def cards(nvml: Any) -> Iterator[tuple[Gpu, Any]]:
    """Each GPU, and the open library's handle of it. Raises the library's NVMLError."""
    for index in range(nvml.nvmlDeviceGetCount()):
        yield from _gpus(nvml, index)


def _gpus(nvml: Any, index: int) -> Iterator[tuple[Gpu, Any]]:
    """A card, or its MIG instances if it is cut into some; nothing if it cannot be opened."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError:  # fallen off the bus
        return
    mode = told(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        yield _gpu(nvml, handle, index), handle
        return
    for place in range(told(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        instance = told(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place)
        if instance is not None:
            yield _gpu(nvml, instance, index, mig=True), instance


def _gpu(nvml: Any, handle: Any, index: int, mig: bool = False) -> Gpu:
    memory = told(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        index=index,
        uuid=_text(told(nvml, nvml.nvmlDeviceGetUUID, handle)),
        name=_text(told(nvml, nvml.nvmlDeviceGetName, handle)),
        total=memory and int(memory.total),
        free=memory and int(memory.free),
        mig=mig,
    )


def told(nvml: Any, question: Any, *about: Any) -> Any:
    """The answer, or None if there is none."""
    try:
        return question(*about)
    except nvml.NVMLError:
        return None


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def visible(gpus: Sequence[Gpu], wanted: str | None) -> tuple[Gpu, ...]:
    """Those that are left by CUDA_VISIBLE_DEVICES, read as CUDA does: up to the first name that
    fits nothing."""
    if wanted is None:
        return tuple(gpus)
    chosen: list[Gpu] = []
    for name in (part.strip() for part in wanted.split(",")):
        if name.isdigit():
            found = [gpu for gpu in gpus if gpu.index == int(name)][:1]
        else:
            found = [gpu for gpu in gpus if name and (gpu.uuid or "").startswith(name)][:1]
        if not found:
            break
        chosen += found
    return tuple(chosen)
