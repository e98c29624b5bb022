"""Options have one name, one default and one type wherever they are taken, and none is lost on its way."""

from __future__ import annotations

import argparse
import inspect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import pytest
import xarray as xr

import coregstack
from coregstack import api
from coregstack.accessor import methods
from coregstack.cli.parser import build_parser
from coregstack.errors import InvalidRequest
from coregstack.matching import choices
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.orders import run as orders_run
from coregstack.run import new_dates, scenes
from coregstack.show import tiepoints

SETTINGS = tuple(field.name for field in fields(MatchSettings))
ACCESSORS = (methods.CoregAccessor, methods.QualityAccessor, methods.StackPlots, methods.QualityPlots)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(coregstack, name)
    for name in coregstack.__all__
    if inspect.isfunction(getattr(coregstack, name))
} | {
    f"{kind.__name__}.{name}": member
    for kind in ACCESSORS
    for name, member in inspect.getmembers(kind, inspect.isfunction)
    if not name.startswith("_")
}

DIFFERENT = {
    ("append", "method"): "a cube knows the places of its dates already, and new ones are held to them",
    ("run_scenes", "anchor"): "a run has to know its anchor",
    ("open_scenes", "mask"): "of files a mask is a file too, or values of one",
    ("run_scenes", "mask"): "of files a mask is a file too, or values of one",
    ("inspect_folder", "mask"): "of files a mask is a file too, or values of one",
    ("StackPlots.field", "model"): "an item is shown by the model that it was aligned by",
    ("StackPlots.field", "ax"): "it draws into several axes",
    ("open_scenes", "anchor"): "a stack lies on the grid of its anchor",
    ("open_order", "anchor"): "a stack lies on the grid of its anchor",
    ("open_stac", "anchor"): "a stack lies on the grid of its anchor",
    ("open_stac", "bands"): "assets are named, since which of them are images is not known",
    ("inspect_folder", "anchor"): "an id is all that a folder is asked for",
    ("StackPlots.compare", "ax"): "it draws into four axes",
}
"""Options that differ somewhere, and why they have to."""

PASSED_ON = {"open_stac": "all options of odc.stac.load, which grow without us"}
"""Functions that take options they do not name, and why."""


def options_of(function: Callable[..., Any]) -> dict[str, tuple[object, str]]:
    """Default and type, as it is written, of each parameter that is given by keyword."""
    return {
        name: (parameter.default, parameter.annotation)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def commands() -> dict[str, argparse.ArgumentParser]:
    parser = build_parser()
    (found,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_option_is_named_in_the_signature(name: str) -> None:
    kinds = {parameter.kind for parameter in inspect.signature(FUNCTIONS[name]).parameters.values()}
    assert (inspect.Parameter.VAR_KEYWORD in kinds) == (name in PASSED_ON)


def test_an_option_means_the_same_in_every_function() -> None:
    seen: dict[str, dict[str, tuple[object, str]]] = defaultdict(dict)
    for name, function in FUNCTIONS.items():
        for option, facts in options_of(function).items():
            if (name, option) not in DIFFERENT:
                seen[option][name] = facts
    assert all(option in options_of(FUNCTIONS[name]) for name, option in DIFFERENT)
    for option, places in seen.items():
        assert len({repr(facts) for facts in places.values()}) == 1, (option, places)


@pytest.mark.parametrize("name", ["estimate", "align", "run_scenes", "run_order", "append"])
def test_functions_that_estimate_take_all_settings(name: str) -> None:
    taken = options_of(FUNCTIONS[name])
    for field in fields(MatchSettings):
        default, kind = taken[field.name]
        assert kind == field.type, field.name
        assert (default == field.default) == ((name, field.name) not in DIFFERENT), field.name


@pytest.mark.parametrize("name", ["estimate", "align"])
def test_a_method_of_a_stack_takes_what_the_function_takes(name: str) -> None:
    assert options_of(FUNCTIONS[f"CoregAccessor.{name}"]) == options_of(FUNCTIONS[name])


@pytest.mark.parametrize(("command", "name"), [("order", "run_order"), ("align", "run_scenes")])
def test_the_command_line_takes_what_the_function_takes(command: str, name: str) -> None:
    actions = {action.dest: action for action in commands()[command]._actions}
    taken = options_of(FUNCTIONS[name])
    assert {*SETTINGS, "resampling"} <= actions.keys()
    for option in actions.keys() & taken.keys():
        default, kind = taken[option]
        action = actions[option]
        assert f"--{option.replace('_', '-')}" in action.option_strings
        if not action.required:
            assert action.default == default, option
        if action.choices is not None:
            # a function can be named in Python only
            assert tuple(action.choices) == get_args(getattr(choices, kind.split(" | ")[0])), option
        if kind in ("float", "float | None"):
            assert action.type is float, option


class Taken(Exception):
    """The settings that a function has made of its options."""


WAYS = {
    "estimate": (api, lambda **options: coregstack.estimate(xr.DataArray(0), 0, **options)),
    "align": (api, lambda **options: coregstack.align(xr.DataArray(0), 0, **options)),
    "CoregAccessor.estimate": (api, lambda **options: xr.DataArray(0).coreg.estimate(0, **options)),
    "CoregAccessor.align": (api, lambda **options: xr.DataArray(0).coreg.align(0, **options)),
    "QualityAccessor.estimate": (api, lambda **options: xr.Dataset().coreg.estimate(0, **options)),
    "QualityAccessor.align": (api, lambda **options: xr.Dataset().coreg.align(0, **options)),
    "CoregAccessor.tie_points": (tiepoints, lambda **options: xr.DataArray(0).coreg.tie_points(**options)),
    "StackPlots.matches": (methods, lambda **options: xr.DataArray(0).coreg.plot.matches("a", **options)),
    "StackPlots.compare": (methods, lambda **options: xr.DataArray(0).coreg.plot.compare("a", **options)),
    "run_scenes": (scenes, lambda **options: coregstack.run_scenes([], anchor=0, output="", **options)),
    "run_order": (orders_run, lambda **options: coregstack.run_order({}, input="", output="", **options)),
    "append": (new_dates, lambda **options: coregstack.append([], "", **options)),
    "tie_points": (tiepoints, lambda **options: coregstack.tie_points(xr.DataArray(0), **options)),
}
"""Where each function makes its settings, and a call of it."""


def test_all_functions_with_settings_are_looked_at() -> None:
    # what is only applied takes of the settings the bands that hold classes
    applying = {"apply", "CoregAccessor.apply", "QualityAccessor.apply", "StackPlots.field"}
    assert {
        name for name, function in FUNCTIONS.items() if options_of(function).keys() & set(SETTINGS)
    } - applying == set(WAYS)


@pytest.mark.parametrize("name", sorted(WAYS))
def test_every_setting_arrives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, call = WAYS[name]

    def take(**settings: object) -> None:
        raise Taken(settings)

    monkeypatch.setattr(module, "MatchSettings", take)
    given = {option: object() for option in options_of(FUNCTIONS[name]) if option in SETTINGS}
    with pytest.raises(Taken) as taken:
        call(**given)
    assert taken.value.args == (given,)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("max_shift", [0, -1, float("nan"), float("inf"), "5"]),
        ("threshold", [-0.01, 1.01, float("nan"), "0.8", None]),
        ("min_improvement", [-0.01, 1.01, float("nan"), "0.1", None]),
        ("method", ["", "Direct", "graph", None, 1]),
        ("estimator", ["", "Phase", None, 1, dict, lambda anchor: None, lambda *, anchor, item: None]),
    ],
)
def test_settings_outside_their_range_are_refused(option: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidRequest, match=option):
            MatchSettings(**{option: value})


def test_settings_are_bound_to_bands() -> None:
    settings = MatchSettings(band="RED", max_shift=7, threshold=0.5, min_improvement=0.1, method="network")
    bound = settings.bound(["blue", "green", "red", "nir"])
    assert isinstance(bound, MatchOptions)
    assert (bound.bands, bound.mean) == ((2, 0, 1, 3), False)
    assert {name: getattr(bound, name) for name in SETTINGS if name != "band"} == {
        name: getattr(settings, name) for name in SETTINGS if name != "band"
    }


def test_one_band_asked_for_in_several_ways_is_one_request() -> None:
    bands = ["blue", "green", "red"]
    assert len({MatchSettings(band=band).bound(bands) for band in (None, "red", "Red", 2, -1)}) == 1
    assert MatchSettings(band="mean").bound(bands).mean
    with pytest.raises(InvalidRequest, match="no band 'nir'"):
        MatchSettings(band="nir").bound(bands)


def test_names_of_choices_are_those_of_their_types() -> None:
    assert get_args(choices.Method) == choices.METHODS
    assert get_args(choices.Estimator) == choices.ESTIMATORS
    assert set(get_args(choices.Resampling)) == {*choices.RESAMPLING, "none"}


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("red", "red"),
        ("2", 2),
        ("-1", -1),
        ("pan,red", ("pan", "red")),
        ("0, nir", (0, "nir")),
        ("mean", "mean"),
    ],
)
def test_bands_on_the_command_line(text: str, band: object) -> None:
    line = [
        "align",
        "a.tif",
        "b.tif",
        "--anchor",
        "a",
        "--output",
        "out",
        f"--band={text}",
        "--nearest",
        "scl,4",
    ]
    options = build_parser().parse_args(line)
    assert options.band == band
    assert options.nearest == ("scl", 4)
    MatchSettings(band=options.band, nearest=options.nearest)


@pytest.mark.parametrize("text", ["a,b,c", ",", ""])
def test_more_than_a_pair_of_bands_is_refused(text: str) -> None:
    line = ["align", "a.tif", "--anchor", "a", "--output", "out", f"--band={text}"]
    with pytest.raises(InvalidRequest):
        MatchSettings(band=build_parser().parse_args(line).band).bound(["a", "b"])
