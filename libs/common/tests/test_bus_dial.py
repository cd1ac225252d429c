"""A NATS address: several servers, quoted passwords, certificates of one's own."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tidemill.common.bus.client import CommandFailed, open_client
from tidemill.common.bus.dial import WrongAddress, dialled
from tidemill.common.servers import NatsServer


def test_a_list_of_servers_is_tried_one_by_one() -> None:
    found = dialled("nats://one:4222, nats://two:4223,three:4222")
    assert found == {"servers": ["nats://one:4222", "nats://two:4223", "nats://three:4222"]}


def test_a_password_goes_to_every_server_as_it_was_before_it_was_quoted(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a/b@c:d\n")
    found = dialled(f"nats://scraper:${{file:{tmp_path}/password}}@one:4222,nats://two:4222")
    assert found == {
        "servers": ["nats://one:4222", "nats://two:4222"],
        "user": "scraper",
        "password": "a/b@c:d",
    }


def test_a_token_stays_where_it_is() -> None:
    assert dialled("nats://token@one:4222") == {"servers": ["nats://token@one:4222"]}


@pytest.mark.parametrize("address", ["nats://one?ca=/x", "tls://one?tls_ca=/there/is/none"])
def test_a_wrong_parameter_is_told(address: str) -> None:
    with pytest.raises(WrongAddress, match=r"valid: tls_ca|cannot be read"):
        dialled(address)


async def test_a_server_of_a_private_authority_is_trusted_by_its_certificate(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with NatsServer(tmp_path / "nats", config=f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}') as server:
        address = f"tls://127.0.0.1:{server.port}"
        async with open_client(f"{address}?tls_ca={certificate}") as client:
            assert client.is_connected
        with pytest.raises(CommandFailed, match="no NATS at"):
            async with open_client(address):
                pass
        with pytest.raises(CommandFailed, match="valid: tls_ca"):
            async with open_client(f"{address}?ca={certificate}"):
                pass


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nats")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "tls.crt", folder / "tls.key"
