"""Packages for images: names, pins, and what an image has already."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipper_magic import wheels
from clipper_magic.wheels import PYTHON_VERSION, PipError, Platform


def distribution(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
    """Write what pip leaves of a distribution with one module."""
    module = f"{name.replace('-', '_')}/__init__.py"
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / module).parent.mkdir()
    (folder / module).write_text("")
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {each}" for each in requires)]) + "\n")
    (info / "RECORD").write_text(f"{module},,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("numpy", "numpy"),
        ("Scikit_Learn>=1.5", "scikit-learn"),
        ("zope.interface==1", "zope-interface"),
        ("pkg[extra]; python_version<'4'", "pkg"),
        ("  spaced ==1", "spaced"),
    ],
)
def test_canonical_name(requirement: str, name: str) -> None:
    assert wheels.canonical_name(requirement) == name


def test_bare_names_and_lower_bounds_get_the_kernels_version() -> None:
    numpy = wheels.kernel_versions()["numpy"]

    assert wheels.pinned(["numpy", "NumPy>=1.26"]) == [f"numpy=={numpy}"]


@pytest.mark.parametrize("requirement", ["numpy==1.0", "numpy<2", "numpy[extra]", "numpy>=1,<3", "no-such-thing"])
def test_the_users_own_word_stays(requirement: str) -> None:
    assert wheels.pinned([requirement]) == [requirement]


def test_editable_installations_are_not_pinned() -> None:
    """No index has the version of a checkout, such as this one."""
    assert "clipper-magic" not in wheels.kernel_versions()


def test_requirements_are_read_without_comments(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("# why\n\nbottle>=0.13  # routes\nnumpy\n")

    assert wheels.read_requirements(tmp_path / "requirements.txt") == ["bottle>=0.13", "numpy"]


def test_what_only_the_images_python_needs_is_missing(tmp_path: Path) -> None:
    """redis needs async-timeout on Python 3.11.2 and not on 3.11.7: pip reads markers as its own Python."""
    distribution(
        tmp_path, "redis", "8.1.0", ("async-timeout>=4; python_full_version < '3.11.3'", "other; extra == 'x'")
    )

    assert wheels._missing(tmp_path, Platform("3.11.2", "x86_64")) == ["async-timeout>=4"]
    assert wheels._missing(tmp_path, Platform("3.11.7", "x86_64")) == []


def test_what_the_image_has_is_removed(tmp_path: Path) -> None:
    for name, version in (("kept-one", "2.0"), ("known", "1.0"), ("other-version", "1.1")):
        distribution(tmp_path, name, version)

    wheels.remove_known(tmp_path, {"known": "1.0", "other-version": "1.0"})

    assert wheels.installed_in(tmp_path) == {"kept-one": "2.0", "other-version": "1.1"}
    assert not (tmp_path / "known").exists()
    assert (tmp_path / "kept_one" / "__init__.py").exists()


def test_wheels_of_another_platform_are_asked_for() -> None:
    options = Platform(f"{PYTHON_VERSION}.9", "another").pip_options()

    assert "--platform=manylinux_2_28_another" in options
    assert "--only-binary=:all:" in options
    assert f"--python-version={PYTHON_VERSION}" in options


def test_pip_is_quoted_without_colours_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel asks every program for them."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    missing = tmp_path / "no-such-wheel.whl"

    with pytest.raises(PipError, match=r"^[^\x1b]*no-such-wheel\.whl[^\x1b]*$"):
        wheels._pip("install", "--no-index", "--target", str(tmp_path / "target"), str(missing))
