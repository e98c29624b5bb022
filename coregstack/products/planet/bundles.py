"""What the published bundles and products hold."""

from __future__ import annotations

from coregstack.products.planet.names import AssetName, Kind

UDM2_BANDS = ("clear", "snow", "shadow", "haze_light", "haze_heavy", "cloud", "confidence", "unusable")

_RGB = ("red", "green", "blue")
_BGRN = ("blue", "green", "red", "nir")
_EIGHT = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
_RAPIDEYE = ("blue", "green", "red", "rededge", "nir")
_BANDS = {3: _RGB, 4: _BGRN, 5: _RAPIDEYE, 8: _EIGHT}
_PSSCENE = {
    "analytic": "ortho_analytic_3b",
    "analyticms": "ortho_analytic_4b",
    "analyticms_sr": "ortho_analytic_4b_sr",
    "analyticms_8b": "ortho_analytic_8b",
    "analyticms_sr_8b": "ortho_analytic_8b_sr",
    "visual": "ortho_visual",
}
_TILE = {
    "analytic": "analytic",
    "analytic_sr": "analytic_sr",
    "visual": "visual",
    "bgrn_analytic": "analytic",
    "bgrn_sr": "analytic_sr",
    "bgrn_dn": "analytic_dn",
    "rgb_visual": "visual",
}


def is_orthorectified(bundle: str) -> bool:
    """Whether a bundle's images lie on a map grid; a bundle that is not known does.

    Examples
    --------
    >>> is_orthorectified("analytic_udm2"), is_orthorectified("basic_analytic_udm2")
    (True, False)
    """
    return not (bundle.lower().startswith("basic_") or bundle.lower().endswith("_nitf"))


def band_names(name: AssetName, count: int) -> tuple[str, ...] | None:
    """Names of an image's or mask's bands by its product, for files that do not describe them.

    Parameters
    ----------
    name : AssetName
        The file's name, read.
    count : int
        How many bands the file has.

    Returns
    -------
    tuple of str or None
        One name a band; None where product and count do not determine them.

    Examples
    --------
    >>> from coregstack.products.planet.names import parse_name
    >>> band_names(parse_name("20200630_164149_0e3a_3B_AnalyticMS.tif"), 4)
    ('blue', 'green', 'red', 'nir')
    >>> band_names(parse_name("20200630_164149_0e3a_3B_Visual.tif"), 4)
    ('red', 'green', 'blue', 'alpha')
    """
    if name.item_type is None or name.kind not in (Kind.IMAGE, Kind.UDM, Kind.UDM2):
        return None
    if name.kind is not Kind.IMAGE:
        expected = UDM2_BANDS if name.kind is Kind.UDM2 else ("unusable",)
        return expected if count == len(expected) else None
    product = name.product.lower()
    if "visual" in product:
        return (*_RGB, "alpha")[:count] if count in (3, 4) else None
    if "panchromatic" in product:
        return ("panchromatic",) if count == 1 else None
    return _BANDS.get(count) if "analytic" in product or "sharpened" in product or "bgrn" in product else None


def asset_type(name: AssetName) -> str | None:
    """Planet's name of an asset by its file name, or None where it is not published.

    Examples
    --------
    >>> from coregstack.products.planet.names import parse_name
    >>> asset_type(parse_name("20200630_164149_0e3a_3B_AnalyticMS_SR_8b_clip.tif"))
    'ortho_analytic_8b_sr'
    """
    if not name.orthorectified or name.kind not in (Kind.IMAGE, Kind.UDM, Kind.UDM2, Kind.METADATA):
        return None
    product, mask = name.product.lower(), name.kind if name.kind in (Kind.UDM, Kind.UDM2) else None
    if name.item_type in ("SkySatCollect", "SkySatScene"):
        return "_".join(part for part in ("ortho", product, mask) if part) if product else None
    if name.item_type not in ("PSScene", "REOrthoTile", "PSOrthoTile"):
        return None
    tile = name.item_type != "PSScene"
    if mask:
        return str(mask) if tile else f"ortho_{mask}"
    found = (_TILE if tile else _PSSCENE).get(product)
    return f"{found}_xml" if found and name.kind is Kind.METADATA else found
