from __future__ import annotations

import pytest

from outrider.algorithm.settings.resource_settings import ResourceSettings, check_address


@pytest.mark.parametrize("address", [None, "auto", "local", "10.0.0.7:6379", "head:6379", "[::1]:6379"])
def test_addresses_that_can_be(address: str | None) -> None:
    assert ResourceSettings(ray_address=address).ray_address == address


@pytest.mark.parametrize("address", ["", "head", "head:", "head:0", "head:70000", ":6379", "http://h:8265/x"])
def test_addresses_that_cannot_be(address: str) -> None:
    with pytest.raises(ValueError, match=r"ray_address=.* is no address; give host:port"):
        ResourceSettings(ray_address=address)


def test_an_address_of_ray_client_says_what_to_give_instead() -> None:
    with pytest.raises(ValueError, match="RAY_ADDRESS='ray://head:10001' is an address of Ray Client"):
        check_address("ray://head:10001", source="RAY_ADDRESS")


def test_unknown_strategies_are_refused() -> None:
    with pytest.raises(ValueError, match="placement_strategy is 'pack'; allowed are 'PACK'"):
        ResourceSettings(placement_strategy="pack")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "seconds",
    [{"wait_for_resources_s": -1}, {"wait_for_resources_s": float("nan")}, {"ray_start_timeout_s": 0}],
)
def test_seconds_out_of_range_are_refused(seconds: dict[str, float]) -> None:
    (name,) = seconds
    with pytest.raises(ValueError, match=f"{name} is .*; it must be a number of seconds"):
        ResourceSettings(**seconds)  # type: ignore[arg-type]
