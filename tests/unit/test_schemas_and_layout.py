"""The domains and arrays of a FileMap: names, widths, dtypes and order."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from itertools import permutations
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import ValidationError, create_model

from noether.data.schemas import FileMap, Scalar, Vector, Width, extended_filemap
from noether.data.zarr_store.errors import ArgumentError
from noether.data.zarr_store.layout import (
    CANONICAL_TO_SPEC,
    FIELD_SPECS,
    ArrayLayout,
    DomainLayout,
    FieldSpec,
    build_domain_layouts,
    field_specs,
    filename_to_canonical,
    present_specs,
    stored_dtype,
)
from support.ahmed import AHMED_FILEMAP

# (attribute, canonical field, domain, name, width), in the order of the FileMap.
FIELDS = [
    ("surface_position", "surface_position", "surface", "position", 3),
    ("surface_pressure", "surface_pressure", "surface", "pressure", 1),
    ("surface_friction", "surface_friction", "surface", "friction", 3),
    ("surface_normals", "surface_normals", "surface", "normals", 3),
    ("surface_area", "surface_area", "surface", "area", 1),
    ("volume_position", "volume_position", "volume", "position", 3),
    ("volume_pressure", "volume_pressure", "volume", "pressure", 1),
    ("volume_velocity", "volume_velocity", "volume", "velocity", 3),
    ("volume_vorticity", "volume_vorticity", "volume", "vorticity", 3),
    ("volume_normals", "volume_normals", "volume", "normals", 3),
    ("surface_position_stl", "surface_stl_position", "surface_stl", "position", 3),
    ("surface_position_stl_resampled", "surface_stl_resampled_position", "surface_stl_resampled", "position", 3),
    ("volume_friction", "volume_friction", "volume", "friction", 3),
    ("volume_distance_to_surface", "volume_sdf", "volume", "sdf", 1),
]
SURFACE = FileMap(surface_position="p.npy", surface_pressure="cp.npy")


class HeatFileMap(FileMap):
    """A file map with two more fields and another domain."""

    volume_temperature: Scalar = None
    volume_stress: Annotated[str | None, Width(6)] = None
    wake_position: Vector = None


def test_file_map_attributes_have_specs_in_order() -> None:
    """Each has its field, domain, name and width."""
    assert tuple(FieldSpec(*row) for row in FIELDS) == FIELD_SPECS


def test_every_attribute_but_the_design_parameters_is_a_field() -> None:
    """No attribute is set at first."""
    assert list(FileMap.model_fields) == [*(row[0] for row in FIELDS), "design_parameters"]
    assert set(FileMap().model_dump().values()) == {None}


def test_fields_are_found_by_canonical_name() -> None:
    assert {field: spec.attribute for field, spec in CANONICAL_TO_SPEC.items()} == {row[1]: row[0] for row in FIELDS}


def test_subclass_adds_fields_with_widths() -> None:
    """The fields of the subclass come after the known fields."""
    added = field_specs(HeatFileMap)[len(FIELDS) :]
    assert added == (
        FieldSpec("volume_temperature", "volume_temperature", "volume", "temperature", 1),
        FieldSpec("volume_stress", "volume_stress", "volume", "stress", 6),
        FieldSpec("wake_position", "wake_position", "wake", "position", 3),
    )


def test_subclass_can_change_the_width_of_a_field() -> None:
    class Planar(FileMap):
        volume_velocity: Annotated[str | None, Width(2)] = None

    assert {spec.field: spec.width for spec in field_specs(Planar)}["volume_velocity"] == 2


@pytest.mark.parametrize(
    ("attribute", "annotation", "message"),
    [
        pytest.param(
            "volume_heat", str | None, r"volume_heat: .*width of at least 1; annotate it: .*Width\(3\)", id="no-width"
        ),
        pytest.param(
            "volume_heat", Annotated[str | None, Width(0)], r"volume_heat: .*width of at least 1", id="width-zero"
        ),
        pytest.param("heat", Scalar, r"heat: expected a name of the form <domain>_<name>, such as", id="no-domain"),
        pytest.param("heat_", Scalar, r"heat_: expected a name of the form <domain>_<name>", id="no-name"),
        pytest.param(
            "volume_sdf",
            Scalar,
            r"volume_sdf: expected .* got volume_sdf, which volume_distance_to_surface names too; rename one",
            id="field-named-twice",
        ),
        pytest.param(
            "surface_stl_position",
            Vector,
            r"surface_stl_position: expected .* got surface_stl_position, which surface_position_stl names too",
            id="field-named-twice-across-domains",
        ),
    ],
)
def test_an_attribute_of_a_subclass_that_names_no_field_is_refused(
    attribute: str, annotation: Any, message: str
) -> None:
    fields: dict[str, Any] = {attribute: (annotation, None)}
    schema = create_model("MyFileMap", __base__=FileMap, **fields)
    with pytest.raises(ArgumentError, match=r"^MyFileMap\." + message):
        field_specs(schema)


MADE: dict[str, Callable[[type[FileMap], dict[str, str]], FileMap]] = {
    "keywords": lambda schema, files: schema(**files),
    "validated": lambda schema, files: schema.model_validate(files),
    "json": lambda schema, files: schema.model_validate_json(json.dumps(files)),
}


@pytest.fixture(params=MADE)
def made(request: pytest.FixtureRequest) -> Callable[[type[FileMap], dict[str, str]], FileMap]:
    """Each way to make a file map from names."""
    return MADE[request.param]


@pytest.mark.parametrize("spec", FIELD_SPECS, ids=lambda spec: spec.field)
def test_a_canonical_name_stands_for_its_attribute(made: Any, spec: FieldSpec) -> None:
    """Each way to make a file map takes both names, and the result is the same: the attribute holds the file."""
    filemap = made(FileMap, {spec.field: "a.npy"})
    assert filemap == made(FileMap, {spec.attribute: "a.npy"})
    assert filemap.model_dump(exclude_none=True) == {spec.attribute: "a.npy"}
    assert filemap.model_fields_set == {spec.attribute}
    assert pickle.loads(pickle.dumps(filemap)) == filemap


def test_a_canonical_name_is_a_keyword_that_type_checkers_know() -> None:
    assert FileMap(volume_sdf="a.npy").volume_distance_to_surface == "a.npy"


def test_canonical_names_of_a_subclass_stand_for_its_attributes(made: Any) -> None:
    class WakeFileMap(FileMap):
        wake_distance_to_surface: Scalar = None

    filemap = made(WakeFileMap, {"wake_sdf": "a.npy", "volume_sdf": "b.npy"})
    assert filemap == WakeFileMap(wake_distance_to_surface="a.npy", volume_distance_to_surface="b.npy")


def test_canonical_names_stand_for_attributes_in_an_extended_file_map() -> None:
    filemap = extended_filemap({"volume_sdf": "a.npy", "wake_sdf": "b.npy"}, {"wake_distance_to_surface": 1})
    assert filemap.model_dump(exclude_none=True) == {
        "volume_distance_to_surface": "a.npy",
        "wake_distance_to_surface": "b.npy",
    }
    assert pickle.loads(pickle.dumps(filemap)) == filemap


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        pytest.param("surface_presure", "did you mean 'surface_pressure'", id="near-an-attribute"),
        pytest.param("volume_sfd", "did you mean 'volume_sdf'", id="near-a-canonical-name"),
        pytest.param("heat", "there are: design_parameters, ", id="near-none"),
        pytest.param("", "there are: design_parameters, ", id="empty"),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(made: Any, name: str, hint: str) -> None:
    message = f"file map: unknown field {name!r}; {hint}"
    with pytest.raises(ArgumentError, match="^" + re.escape(message)):
        made(FileMap, {"surface_position": "a.npy", name: "b.npy"})


def test_both_names_of_one_field_at_once_are_refused(made: Any) -> None:
    for first, second in permutations(["volume_sdf", "volume_distance_to_surface"]):
        message = f"file map: {first} and {second} are two names of the same field; leave one of them out"
        with pytest.raises(ArgumentError, match="^" + re.escape(message)):
            made(FileMap, {first: "a.npy", second: "a.npy"})


def test_file_name_must_be_a_str(made: Any) -> None:
    with pytest.raises(ValidationError, match=r"volume_distance_to_surface\n.*valid string"):
        made(FileMap, {"volume_sdf": 3})


def test_field_name_that_is_no_str_is_unknown() -> None:
    with pytest.raises(ArgumentError, match=r"^file map: unknown field 3; there are: "):
        FileMap.model_validate({3: "a.npy"})


@pytest.mark.parametrize("files", [["surface_position"], "surface_position", None], ids=repr)
def test_files_without_names_are_refused_by_pydantic(files: Any) -> None:
    with pytest.raises(ValidationError):
        FileMap.model_validate(files)


def test_a_file_map_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SURFACE.surface_area = "area.npy"


def test_present_fields_have_a_file() -> None:
    """The fields have the order of the file map."""
    filemap = FileMap(
        volume_distance_to_surface="d", volume_position="b", surface_position_stl="c", surface_position="a"
    )
    assert [spec.field for spec in present_specs(filemap)] == [
        "surface_position",
        "volume_position",
        "surface_stl_position",
        "volume_sdf",
    ]


def test_each_file_name_leads_to_its_field_and_design_parameters_to_none() -> None:
    filemap = FileMap(volume_position="xyz.pt", volume_distance_to_surface="sdf.pt", design_parameters="params.csv")
    assert filename_to_canonical(filemap) == {"xyz.pt": "volume_position", "sdf.pt": "volume_sdf"}


def test_one_file_for_two_fields_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match=r"got 'a\.npy' for both surface_position and surface_area; name another file"
    ):
        filename_to_canonical(FileMap(surface_position="a.npy", surface_area="a.npy"))


def test_positions_and_values_get_their_dtypes() -> None:
    """Positions get ``coords_dtype``, all other fields ``values_dtype``."""
    assert build_domain_layouts(SURFACE) == {
        "surface": DomainLayout(
            "surface_position",
            {
                "surface_position": ArrayLayout("surface/position", "surface_position", "float32", 3),
                "surface_pressure": ArrayLayout("surface/pressure", "surface_pressure", "float16", 1),
            },
        )
    }


def test_field_dtype_overrides_both() -> None:
    """``field_dtypes`` overrides ``coords_dtype`` and ``values_dtype``."""
    layouts = build_domain_layouts(
        SURFACE, "float64", "float16", {"surface_pressure": "float32", "surface_position": "float16"}
    )
    dtypes = {array.field: array.dtype for array in layouts["surface"].arrays.values()}
    assert dtypes == {"surface_position": "float16", "surface_pressure": "float32"}


def test_domains_and_arrays_keep_the_order_of_the_file_map() -> None:
    layouts = build_domain_layouts(AHMED_FILEMAP)
    assert {domain: list(layout.arrays) for domain, layout in layouts.items()} == {
        "surface": ["surface_position", "surface_pressure", "surface_friction", "surface_normals", "surface_area"],
        "volume": ["volume_position", "volume_pressure", "volume_velocity", "volume_vorticity", "volume_sdf"],
    }
    assert list(layouts) == ["surface", "volume"]


def test_each_stl_position_is_a_domain_of_its_own() -> None:
    layouts = build_domain_layouts(FileMap(surface_position_stl="a.pt", surface_position_stl_resampled="b.pt"))
    assert {domain: layout.position for domain, layout in layouts.items()} == {
        "surface_stl": "surface_stl_position",
        "surface_stl_resampled": "surface_stl_resampled_position",
    }


@pytest.mark.parametrize(
    ("filemap", "field_dtypes", "message"),
    [
        pytest.param(FileMap(), None, "file map: it names no field; set at least one <domain>_position", id="empty"),
        pytest.param(FileMap(design_parameters="p.csv"), None, "file map: it names no field", id="no-point-field"),
        pytest.param(
            FileMap(surface_position="a", volume_pressure="b", volume_distance_to_surface="c"),
            None,
            "file map: domain 'volume' has no position, only volume_pressure, volume_sdf; set volume_position",
            id="domain-without-position",
        ),
        pytest.param(
            SURFACE,
            {"surface_presure": "float32"},
            "field_dtypes: unknown field 'surface_presure'; did you mean 'surface_pressure'",
            id="dtype-of-an-unknown-field",
        ),
        pytest.param(
            SURFACE,
            {"surface_area": "float32"},
            "field_dtypes: unknown field 'surface_area'",
            id="dtype-of-a-field-that-is-not-there",
        ),
        pytest.param(
            SURFACE,
            {"surface_pressure": "int16"},
            "field_dtypes['surface_pressure']: expected one of float16, float32, float64, got 'int16'",
            id="dtype-of-a-field-not-storable",
        ),
    ],
)
def test_invalid_layout_is_refused(filemap: FileMap, field_dtypes: dict[str, str] | None, message: str) -> None:
    with pytest.raises(ArgumentError, match="^" + re.escape(message)):
        build_domain_layouts(filemap, field_dtypes=field_dtypes)


@pytest.mark.parametrize("parameter", ["coords_dtype", "values_dtype"])
@pytest.mark.parametrize(
    "dtype", ["int32", "bfloat16", "complex64", "bool", "longdouble", "", "f4,f4", None, 4, object]
)
def test_a_dtype_that_fields_cannot_be_stored_in_is_refused_by_parameter(parameter: str, dtype: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{parameter}: expected one of float16, float32, float64, got "):
        build_domain_layouts(SURFACE, **{parameter: dtype})


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("float16", "float16"),
        ("half", "float16"),
        (np.float32, "float32"),
        (np.dtype("float64"), "float64"),
        (float, "float64"),
        (">f4", "float32"),
    ],
    ids=repr,
)
def test_dtype_has_one_name_in_all_forms(dtype: Any, name: str) -> None:
    """A name, a NumPy dtype and a type become the same name."""
    assert stored_dtype(dtype, "values_dtype") == name
