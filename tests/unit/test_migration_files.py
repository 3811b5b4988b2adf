"""The files of the migrations: their names, and that those which shipped never change."""

from __future__ import annotations

import hashlib
import re

import pytest

from automatch.store.migrate import MIGRATIONS

_FILES = sorted(MIGRATIONS.glob("*.sql"))

# A database that has applied a file will not apply it again: add a migration instead.
_SHIPPED = {
    "20261123000100_automatch_foundations.sql": (
        "de2d4c984e050c4edf4bb060141f45aa9b28b0478d5d83cf2bc282cf15528c5f"
    ),
    "20261123000200_automatch_profiles.sql": (
        "636081b7fbf527ddce67bec43e8e86f896a159894b7ca479ef8881f256f98481"
    ),
    "20261123000300_automatch_faces.sql": (
        "6ba11105aff2b673cec439250617b5df7343f79e0bcc6fcc6c45326b283c1bde"
    ),
    "20261123000400_automatch_match_jobs.sql": (
        "101d79c71be65f3b71cc8f71373e54ce27a076480b749b6cac7fb820aec7d97d"
    ),
    "20261123000500_automatch_search.sql": (
        "49d7a55a1a0fc159f91183e3074c49816892dd286690f9388f9f1a0143cb80c7"
    ),
    "20261123000600_automatch_matches.sql": (
        "20c9ad1ba0bf51d36c059a1813d1ab79e14aecb5b763f3b23de5881f71f4f648"
    ),
    "20261123000650_automatch_feed.sql": (
        "a0cec0d92e4b4ff956d2d2c9bc70fe44630bf78692ae25cea4edbb3ec199bc8c"
    ),
    "20261123000700_automatch_job_lifecycle.sql": (
        "90faaa5745a486df5503bd2d4b327ad2ff9e7a67c5a46093c361d6a5702b85a9"
    ),
    "20261123000800_automatch_auth_users.sql": (
        "48c7ebd0b17c420f6d7d17a67ed42c8604ea13ad6433d4b68aa000d7c1910514"
    ),
    "20261124000100_automatch_queue_turns.sql": (
        "4dfb220c27f167335f576517a075958dda59efe2a6077fca71ae86d952111532"
    ),
    "20261124000200_automatch_job_batches.sql": (
        "fd96218858af8c1f321542074c4f63e72b2e50056b5daf8f9d13e43be2d22cd0"
    ),
    "20261124000300_automatch_operator.sql": (
        "ed97fa0afd2a43aef0c8b08ee11262dd4f80fe786a99c2cabedd7b271eea8245"
    ),
    "20261124000400_automatch_dimensions.sql": (
        "ce71d545b510f3ee8cee96f7ba157249b5ee293ea2bc00eb47969b13390d1b76"
    ),
    "20261124000410_automatch_search_plan.sql": (
        "a8010d501ffd5afdebd2e6d1abfcf65ad8d3f77cf65eb0cb8193fd554fa57872"
    ),
    "20261124000420_automatch_batch_search.sql": (
        "26bac4887086f3ffcd717f4279cc1b6e937bf8c728adb207a95dd15aab413dff"
    ),
    "20261124000430_automatch_search_audit.sql": (
        "e55f34f2a6ad3cea8261099945259315b80d64a3072e850efd8bce7d5aebc199"
    ),
    "20261124000440_automatch_group_indexes.sql": (
        "9d1bf889357de8df3f9eb6e8f2d719564e5e9200c95dd8ac52b75bee0f34d248"
    ),
    "20261124000500_automatch_similarity_scales.sql": (
        "c39e14905e05506404a46d43d500412049113506bebcd42dade8d36def09ddfd"
    ),
    "20261124000510_automatch_calibration.sql": (
        "7ab294ba5dcfb3dbca180c6798a28e289594fa1825e27046735d03e221a542d3"
    ),
    "20261124000520_automatch_changes.sql": (
        "1e0950bf3105c14518e84ce1ecdc205b5703ef0430f84d5cf2909c4f7919620c"
    ),
    "20261124000530_automatch_thresholds.sql": (
        "8cd61ea38aee8b339dae786f1535d2a10e184f17d2bf603297589e922db68040"
    ),
    "20261124000540_automatch_reasons.sql": (
        "659859bc7a930ee917a10a09c10f914a84c5d46c2461bdee92bd3d5e27d04e51"
    ),
    "20261125000100_automatch_face_choice.sql": (
        "4bc47b3d80e14a00cad03e34722d04d611af888512dc21ec64a18399c3674361"
    ),
    "20261125000110_automatch_same_person.sql": (
        "e744d5f18a40e0b5a76ad22237a7da1d6992cd531472c35a37219ae6752ee403"
    ),
    "20261125000120_automatch_pausing.sql": (
        "9f1e130579293d7488527d13a15dab0c76b81554de187852f52167aa519e2a6e"
    ),
    "20261125000200_automatch_model_changes.sql": (
        "29738116a768c20eae0308a1c11115b3d6589b0cee2350493505aecd7d0cae44"
    ),
    "20261125000210_automatch_model_preparation.sql": (
        "fe3ee980d39fc0517c91aac308dd0ddf6eacc4d3264bcd35554f3c0675e33d46"
    ),
    "20261125000220_automatch_model_exchange.sql": (
        "47004575b2107dd0e10f45aa3532eb3c0b5f612c40d235035542af58057811cd"
    ),
    "20261125000230_automatch_model_comparison.sql": (
        "cb648230c016d40d659a2b1371eeb3530a3d519c908e7f2b60e79a0653061f9b"
    ),
    "20261125000240_automatch_model_matches.sql": (
        "d1e5e508ece04e798131e67258befed141c984fd3b4ecb8071b72b5d96d64150"
    ),
    "20261125000300_automatch_imports.sql": (
        "e9a981fcad0a7014f0b4a33adb4cbfac0c1c2c24e2b071f9f3a430823a0f8509"
    ),
    "20261125000400_automatch_trigger_key.sql": (
        "4430610a0ccc51a70059ab98011db5fd87f65912a02dc8b820e5f0759167f739"
    ),
    "20261125000410_automatch_match_generator.sql": (
        "2fe8019b85c556fb0f869e1b149bc4f6203ea388db7f5d3cb40e370fcb5b48c2"
    ),
    "20261125000500_automatch_default_grants.sql": (
        "27e58dca5ad03affc2a6cec37707ddb81287ef56125320ed534be2b0bd0f82da"
    ),
    "20261125000510_automatch_realtime_publication.sql": (
        "9ba462b5dfdc9611dba94d914c3ee0136f8a376d529dec2f8bf71d30f0789ae8"
    ),
    "20261125000520_automatch_account_erasure.sql": (
        "74905c9dac5a831d4f2d64b22db72a0e8d71b6081cfee9a02d98d5a6016c4ef9"
    ),
    "20261125000600_automatch_match_numbers.sql": (
        "f161fbcab0de7bbd174e69125d23b6548ebc88e4fd901b4b08eb1fb2512c8bf4"
    ),
    "20261125000700_automatch_trials.sql": (
        "5bab26676022e156b959f6e817073d6d25b69e8b2705a0d0819e10bc02d4852f"
    ),
}


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_file_can_be_pushed_by_the_supabase_cli(path) -> None:
    text = path.read_text()

    assert re.fullmatch(r"[0-9]{14}_automatch_[a-z_]+\.sql", path.name)
    # It sends a file as one implicit transaction, and splits it at semicolons.
    assert not re.search(r"(?im)^\s*(begin|commit|rollback)\s*;", text)
    assert not re.search(r"(?im)^\s*\\", text)
    assert "concurrently" not in text.lower()


def test_versions_differ() -> None:
    versions = [path.name[:14] for path in _FILES]

    assert len(set(versions)) == len(versions)


def test_shipped_migrations_never_change() -> None:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in _FILES}

    assert {name: found.get(name) for name in _SHIPPED} == _SHIPPED
