"""Images of the local backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipper_magic.exceptions import ImageBuildError
from clipper_magic.managers.local_images import LocalImages


@pytest.fixture
def images(tmp_path: Path) -> LocalImages:
    return LocalImages(tmp_path / "images", "blue-1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "model.json").write_text("{}")
    return path


def test_build_is_found_by_its_name(images: LocalImages, model: Path) -> None:
    build = images.build("sum-model", "1", str(model), [])

    assert images.tag("sum-model", "1", None) == "blue-1-sum-model:1"
    assert images.tag("sum-model", "1", "registry.example:5000/team") == "registry.example:5000/team/blue-1-sum-model:1"
    assert images.find("blue-1-sum-model:1") == build
    assert images.find("registry.example:5000/team/blue-1-sum-model:1") == build
    assert (build / "model.json").read_text() == "{}"


def test_building_again_makes_another_build(images: LocalImages, model: Path) -> None:
    first = images.build("sum", "1", str(model), [])
    (model / "model.json").write_text("{1}")
    second = images.build("sum", "1", str(model), [])

    assert (first / "model.json").read_text() == "{}"
    assert images.find("blue-1-sum:1") == second != first


def test_model_directory_is_an_image_too(images: LocalImages, model: Path) -> None:
    assert images.find(str(model)) == model


@pytest.mark.parametrize(
    "image", ["blue-1-sum:2", "blue-1-sum", "green-sum:1", "NO_CONTAINER", "", "/no/such/path", "blue-1-sum:"]
)
def test_unknown_image(images: LocalImages, model: Path, image: str) -> None:
    images.build("sum", "1", str(model), [])
    with pytest.raises(ImageBuildError, match="There is no image"):
        images.find(image)
    images.remove(image, set())
    assert images.find("blue-1-sum:1")


def test_remove_keeps_what_is_in_use(images: LocalImages, model: Path) -> None:
    used = images.build("sum", "1", str(model), [])
    unused = images.build("sum", "1", str(model), [])
    neighbour = images.build("sum", "11", str(model), [])

    images.remove("blue-1-sum:1", {used})

    assert (used.exists(), unused.exists(), neighbour.exists()) == (True, False, True)
    with pytest.raises(ImageBuildError):
        images.find("blue-1-sum:1")


def test_what_is_no_model_is_refused(images: LocalImages, tmp_path: Path) -> None:
    with pytest.raises(ImageBuildError, match=r"it has no model\.json"):
        images.build("sum", "1", str(tmp_path), [])
    with pytest.raises(ImageBuildError, match="it does not exist"):
        images.build("sum", "1", str(tmp_path / "nowhere"), [])
    assert not images.root.exists()


def test_copy_that_fails_is_an_error_of_the_build(images: LocalImages, model: Path) -> None:
    images.root.parent.mkdir(exist_ok=True)
    images.root.write_text("a file where the images go")

    with pytest.raises(ImageBuildError, match=rf"copying {model} failed.*\n.*Not a directory") as caught:
        images.build("sum", "1", str(model), [])

    assert caught.value.code == "image-build-failed"


def test_full_disk_has_words_of_its_own() -> None:
    error = ImageBuildError.of_step("image-build-failed", "pip install x", "[Errno 28] No space left on device")

    assert error.code == "no-space"
    assert "the disk is full: pip install x failed" in error.what
    assert error.fix.startswith("Make room")


def test_pip_is_quoted_without_colours(images: LocalImages, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel asks every program for them."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ImageBuildError) as caught:
        images.build("sum", "1", str(model), ["no-such-package-anywhere-42"])

    log = str(caught.value.fields["log"])
    assert log.splitlines()[-1] == "ERROR: No matching distribution found for no-such-package-anywhere-42"
    assert "\x1b" not in log
