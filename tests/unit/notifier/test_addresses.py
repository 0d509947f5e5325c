"""Which addresses events may be sent to, in every way to write one."""

from __future__ import annotations

import ipaddress

import pytest

from services.chassis.errors import InvalidArgument
from services.notifier.models.addresses import check_addresses, parse_networks, parse_url

PRIVATE = (
    "127.0.0.1", "127.255.0.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:7f00:1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "64:ff9b:1::10.0.0.1", "64:ff9b:1:a00:1::", "64:ff9b:1::101:101",
    "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
)  # fmt: skip
PUBLIC = ("93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1")
TARGET = parse_url("https://example.com/")


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_addresses(TARGET, [ipaddress.ip_address(address)], ())
    assert caught.value.reason == "WEBHOOK_ADDRESS_REFUSED"
    assert caught.value.violations[0].field == "webhook.url"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_taken(address: str) -> None:
    given = ipaddress.ip_address(address)
    assert check_addresses(TARGET, [given], ()) == given


def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    mixed = [ipaddress.ip_address("1.1.1.1"), ipaddress.ip_address("10.0.0.1")]
    with pytest.raises(InvalidArgument):
        check_addresses(TARGET, mixed, ())


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_network_that_the_operator_opened_is_reached_also_by_http(address: str) -> None:
    allowed = parse_networks(["10.1.0.0/16"])
    plain, given = parse_url("http://inside.example/"), ipaddress.ip_address(address)
    assert check_addresses(plain, [given], allowed) == given
    with pytest.raises(InvalidArgument):
        check_addresses(plain, [ipaddress.ip_address("10.2.0.1")], allowed)


def test_http_to_a_public_address_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_addresses(parse_url("http://example.com/"), [ipaddress.ip_address("1.1.1.1")], ())
    assert "https" in caught.value.remedy


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com/", "file:///etc/passwd", "https://", "https:///path", "https://a b.com/",
        "https://user:pw@example.com/", "https://@example.com/", "https://example.com/#part", "https://example.com:0/",
        "https://example.com:99999/", "https://example.com\\@evil.com/", "https://exam\nple.com/", "https://[::1/",
        "https://example.com/ü", "https://" + "a" * 70 + ".com/", "https://example.com/" + "a" * 2000, "//example.com/",
        "gopher://x/", "https://..", "https://example.com/\x00",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_of_http_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_url(url)
    assert caught.value.reason == "WEBHOOK_URL_INVALID"
    assert caught.value.violations[0].field == "webhook.url"
    assert caught.value.remedy


def test_a_url_is_taken_apart() -> None:
    target = parse_url("HTTPS://Bücher.example:8443/hooks/a?b=c%20d")
    assert (target.scheme, target.host, target.port) == ("https", "xn--bcher-kva.example", 8443)
    assert (target.path, target.authority) == ("/hooks/a?b=c%20d", "xn--bcher-kva.example:8443")
    assert parse_url("https://[2606:4700::1111]/").authority == "[2606:4700::1111]"
    assert parse_url("http://example.com").path == "/"
