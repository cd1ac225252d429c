"""What `make release` says a release is made of."""

import re
from pathlib import Path

from deploy.release import bill_of_materials, contracts, locked, members

ROOT = Path(__file__).parents[2]


def test_every_package_of_the_lock_is_in_the_bill_of_materials_with_its_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    components = list(locked(lock))
    assert len(components) == len(re.findall(r"^[^\s#]\S*==", lock, re.MULTILINE))
    hashes = [each for component in components for each in component["externalReferences"][0]["hashes"]]
    assert len(hashes) == lock.count("--hash=sha256:")
    assert all(component["externalReferences"][0]["hashes"] for component in components)


def test_our_members_are_in_it_and_every_reference_is_there_once() -> None:
    bill = bill_of_materials()
    names = {component["name"] for component in bill["components"]}
    assert {member["name"] for member in members()} <= names
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(references) == len(set(references))
    assert bill == bill_of_materials(), "the same lock makes the same bill"


def test_a_line_that_is_not_understood_ends_it() -> None:
    try:
        list(locked("tide mill==1 \\\n    --hash=sha256:" + "0" * 64))
    except SystemExit as end:
        assert "line 1 is not understood" in str(end)
    else:
        raise AssertionError("it was passed over")


def test_the_contracts_are_those_that_can_be_read_back(tmp_path: Path) -> None:
    from google.protobuf import descriptor_pb2

    contracts(tmp_path)
    read = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "tidemill-events.binpb").read_bytes())
    assert "DocumentStored" in {message.name for file in read.file for message in file.message_type}
