"""Where a net runs: device, threads, precision, and what to say when there is not enough memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from tradebot.errors import BusyError, ConfigError
from tradebot.forecasters.nets.plan import Plan


def chosen_device(wanted: str) -> torch.device:
    """``auto`` is the first GPU when there is one. Raises ConfigError for ``cuda`` without any."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda: torch sees no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def autocast(plan: Plan, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Forward passes in bfloat16 where the plan says so; the weights stay float32."""
    wanted = plan.precision == "bfloat16" or (
        plan.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


def native_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextlib.contextmanager
def at_home(plan: Plan, device: torch.device) -> Iterator[None]:
    """Threads as the plan says, and the caller's random numbers and thread count as they were, afterwards.

    Turns running out of memory into a BusyError that says what to lower.
    """
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.set_num_threads(max(1, plan.threads))
            yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _no_memory(plan, device) from error
    except RuntimeError as error:
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise _no_memory(plan, device) from error
        raise
    finally:
        torch.set_num_threads(threads)


def _no_memory(plan: Plan, device: torch.device) -> BusyError:
    return BusyError(
        f"out of memory on {device.type} with batches of {plan.batch} rows: lower --batch-size (and raise "
        "accumulation to keep the step), the net's size, or the days"
    )
