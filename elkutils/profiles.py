"""How much work a chapter does: one setting, three named profiles.

*quick* is for tests, *book* (the default) for two CPU cores, *full* for a GPU. The profile
is read from the environment variable ``ELKUTILS_PROFILE``.
"""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

PROFILES = ("quick", "book", "full")

T = TypeVar("T")


def active() -> str:
    """Return the name of the active profile.

    Raises
    ------
    ValueError
        If ``ELKUTILS_PROFILE`` names no known profile.
    """
    name = os.environ.get("ELKUTILS_PROFILE", "book")
    if name not in PROFILES:
        raise ValueError(f"ELKUTILS_PROFILE is {name!r}; it has to be one of {PROFILES}")
    return name


def pick(*, quick: T, book: T, full: T) -> T:
    """Return the argument that belongs to the active profile."""
    return {"quick": quick, "book": book, "full": full}[active()]


def stamp(seed: int) -> str:
    """Return one line on the origin of a page: profile, device, versions and seed."""
    names = ("elkutils", "numpy", "jax", "numpyro", "torch", "transformer-lens")
    parts = [f"profile {active()}", f"device {_device()}", f"seed {seed}"]
    parts += [f"{name} {_version(name)}" for name in names]
    parts.append(f"Python {platform.python_version()}")
    return " · ".join(parts)


def _device() -> str:
    import jax

    return jax.default_backend()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
