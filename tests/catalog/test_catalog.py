"""The catalogue: names lead to models and paths, and an unknown name is refused with a list of the known ones."""

from pathlib import Path

import pytest

from engine.catalog.models import CATALOG, find_model
from engine.catalog.paths import find_paths
from engine.errors import Refusal


def test_every_bundle_has_a_stand_in_of_the_same_shape() -> None:
    bundles = [spec for spec in CATALOG.values() if spec.source == "torchtext"]
    assert len(bundles) == 5
    assert all(CATALOG[f"{spec.name}-random"].shape == spec.shape for spec in bundles)


def test_parameter_counts_are_the_published_ones() -> None:
    def millions(name: str) -> int:
        shape = CATALOG[name].shape
        assert shape is not None
        return round(shape.parameters / 1e6)

    assert [millions(name) for name in ("xlmr-base", "xlmr-large", "roberta-base")] == [277, 559, 124]


def test_a_folder_with_a_config_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert find_model(str(tmp_path)).source == "folder"


def test_an_owner_and_a_name_are_a_hub_id() -> None:
    assert find_model("sentence-transformers/all-MiniLM-L12-v2").source == "hub"


@pytest.mark.parametrize("name", ["", "minlm", "../x", "/x/y", "a/b/c", "a/"])
def test_an_unknown_model_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(Refusal, match="minilm"):
        find_model(name)


def test_a_folder_without_a_config_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"config\.json"):
        find_model(str(tmp_path))


def test_paths_keep_their_order_and_unknown_ones_are_refused() -> None:
    assert [path.name for path in find_paths(("slow", "fast-mha"))] == ["slow", "fast-mha"]
    with pytest.raises(Refusal, match="fast-nested"):
        find_paths(("slow", "fastest"))
