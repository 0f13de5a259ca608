"""`make mutants`: hand-made mutants of the important predicates. Each must be killed by the test that names it."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", ".demo", ".*_cache", "__pycache__")


@dataclass(frozen=True)
class Mutant:
    """A change of one line that makes a promise untrue, and the test that must notice."""

    name: str
    file: str
    before: str
    after: str
    test: str


HISTORIES = "tests/federation/test_histories.py::test_two_syncs_agree_after_any_history"
ON_SHELVES = (
    "tests/federation/test_histories.py::test_two_followers_hold_what_the_nodes_say_after_any_history"
)
HOSTILE = "tests/federation/test_hostile.py::test_a_broken_node_stops_alone_where_it_stood"
MUTANTS = (
    Mutant(
        "gap",
        "services/follow.py",
        "if [m.seq for m in new] != list(range(size + 1, size + 1 + len(new))):",
        "if False:",
        "tests/federation/test_follow.py::test_a_lost_message_rings_for_the_feed",
    ),
    Mutant(
        "root", "services/proofs.py", "if merkle.root(tree).hex() != close.log_root:", "if False:", HOSTILE
    ),
    Mutant("owner", "services/proofs.py", "if not own or not SUBJECT", "if not SUBJECT", HOSTILE),
    Mutant(
        "version",
        "services/proofs.py",
        "recordversion != (known or 0) + 1:",
        "recordversion < (known or 0) + 1:",
        HOSTILE,
    ),
    Mutant(
        "state root",
        "services/proofs.py",
        "if self.count != self._close.count or self._state.root().hex() != self._close.state_root:",
        "if self.count != self._close.count:",
        "tests/federation/test_hostile.py::test_a_node_that_lies_from_the_start_never_enters",
    ),
    Mutant(
        "mandatory",
        "services/broker.py",
        "mandatory=True",
        "mandatory=False",
        "tests/federation/test_relay.py::test_a_deleted_stream_is_made_again_and_loses_nothing_new",
    ),
    Mutant(
        "head lock",
        "services/ledger_store.py",
        "FROM ledger_head FOR UPDATE",
        "FROM ledger_head",
        "tests/registry/test_writer.py::test_two_processes_share_one_log",
    ),
    Mutant(
        "no-op",
        "services/registry/decide.py",
        "if now.withdrawn is None and body == now.body:",
        "if False:",
        "tests/registry/test_places.py::test_unchanged_content_makes_no_event",
    ),
    Mutant(
        "If-Match",
        "services/registry/decide.py",
        """    if wish.version is not None and wish.version != now.version:
        raise stale(now, wish.version)
    match wish:""",
        """    match wish:""",
        "tests/registry/test_places.py::test_a_change_names_the_version_it_was_made_from",
    ),
    Mutant(
        "idempotency",
        "services/registry/writer.py",
        "if known.request != asked.once.request:",
        "if False:",
        "tests/registry/test_places.py::test_a_key_stands_for_one_request_of_one_token",
    ),
    Mutant(
        "brake",
        "services/registry/importing.py",
        "self.count > BRAKE_SHARE * self.places",
        "self.count > self.places",
        "tests/registry/test_imports.py::test_a_list_that_would_take_much_away_stops_and_asks",
    ),
    Mutant(
        "veil",
        "services/sync/api/places.py",
        "if any(_undisclosed(data) for data in said.values()):",
        "if False:",
        "tests/sync/test_undisclosed.py",
    ),
    Mutant(
        "full inbox",
        "services/inbox.py",
        "            self.ring()\n            return\n        self._messages.append(message)",
        "            return\n        self._messages.append(message)",
        "tests/federation/test_follow.py::test_a_full_inbox_rings",
    ),
    Mutant(
        "policy",
        "services/sync/upkeep.py",
        "usable = before if stood is not None and stood[1] == adopted.id else {}",
        "usable = before",
        "tests/sync/test_upkeep.py::test_another_policy_makes_another_view",
    ),
    Mutant(
        "hidden",
        "services/sync/work.py",
        "return owner(record) in self.nodes and record not in self.hidden",
        "return owner(record) in self.nodes",
        "tests/sync/test_hidden.py::test_a_shared_place_stays_without_the_voice",
    ),
    Mutant(
        "public address",
        "services/addresses.py",
        "if not open_to_strangers(address, ranges):",
        "if False:",
        "tests/sync/test_addresses_guard.py::test_a_name_is_judged_by_its_addresses",
    ),
    Mutant(
        "half-written trust",
        "services/sync/following.py",
        "if text == before and text != judged:",
        "if text != judged:",
        "tests/sync/test_trust.py::test_a_half_written_file_is_not_believed",
    ),
    Mutant(
        "doubt",
        "services/registry/importing.py",
        "if gone and doubtful is not None and job.confirm is None:",
        "if False:",
        "tests/registry/test_imports.py::test_a_row_that_cannot_be_read_has_not_left",
    ),
    Mutant(
        "too long when tidied",
        "services/places.py",
        "faults.extend(fault for fault in _written(place) if fault.where not in known)",
        "known.clear()",
        "tests/registry/test_writer.py::test_what_tidying_makes_too_long_is_refused",
    ),
    Mutant(
        "epochs",
        "services/identity.py",
        "return min(map(base_of, self.newer(epoch)), default=None)",
        "return max(map(base_of, self.newer(epoch)), default=None)",
        ON_SHELVES,
    ),
    Mutant(
        "message of an old epoch",
        "services/follow.py",
        "if any(m.epoch != self.here.epoch for m in messages):",
        "if False:",
        ON_SHELVES,
    ),
    Mutant(
        "gap in any history",
        "services/follow.py",
        "if [m.seq for m in new] != list(range(size + 1, size + 1 + len(new))):",
        "if False:",
        ON_SHELVES,
    ),
    Mutant(
        "versions across erased ones",
        "services/follow.py",
        "jump = blind or record in erased or await follow_store.has_erased(conn, node, record)",
        "jump = blind or record in erased",
        ON_SHELVES,
    ),
    Mutant(
        "applied twice",
        "services/follow_store.py",
        "WHERE node = $1 AND epoch = $2 AND size = $3 AND state <> 'forked'",
        "WHERE node = $1 AND epoch >= $2 AND size >= $3 AND state <> 'forked'",
        HISTORIES,
    ),
    Mutant(
        "erased in dropped tails",
        "services/follow_store.py",
        "UPDATE follow_dropped SET raw = '', sig = '' WHERE",
        "UPDATE follow_dropped SET sig = '' WHERE",
        HISTORIES,
    ),
    Mutant(
        "records of a rewound log",
        "services/sync/upkeep.py",
        "return {n.node for n in followed if n.rewinds != merged.get(n.node, n.rewinds)}",
        "return set()",
        HISTORIES,
    ),
    Mutant(
        "erased in what was before",
        "services/sync/placing.py",
        "leaves = {*_leaves(now.view), *(_leaves(before) if before else ())}",
        "leaves = {*_leaves(now.view)}",
        HISTORIES,
    ),
    Mutant(
        "erasures that were missed",
        "services/sync/upkeep.py",
        "    if before is None:\n        told = ",
        "    if False:\n        told = ",
        HISTORIES,
    ),
    Mutant(
        "one moment",
        "services/sync/upkeep.py",
        'conn.transaction(isolation="repeatable_read"):\n'
        "        work, heads = await _begun(conn, pen, adopted, gauges)\n        before,",
        "conn.transaction():\n        work, heads = await _begun(conn, pen, adopted, gauges)\n        before,",
        HISTORIES,
    ),
    Mutant(
        "an erasure said again",
        "services/ledger_epochs.py",
        "for unsaid in await ledger_repair_store.unsaid_erasures(conn):",
        "for unsaid in ():",
        "tests/federation/test_erase.py::test_an_erasure_that_an_epoch_cut_off_is_said_again",
    ),
    Mutant(
        "moment of a backup",
        "services/registry/saving.py",
        "            await ledger_store.head(reading)",
        "            pass",
        "tests/registry/test_backup.py::test_what_comes_after_its_moment_is_not_in_a_backup",
    ),
    Mutant(
        "erased since the backup",
        "services/registry/restoring.py",
        "if by is None or not found.raw:",
        "if True:",
        "tests/registry/test_backup.py::test_a_backup_brings_nothing_erased_back",
    ),
    Mutant(
        "erasure that failed",
        "services/registry/restoring.py",
        "if _position(e) > _end(self.manifest)",
        "if True",
        "tests/registry/test_backup.py::test_an_erasure_that_failed_does_no_harm",
    ),
    Mutant(
        "signature in an archive",
        "services/witness.py",
        "    proofs.fits(text, position, signing.EVENT, whose)",
        "    pass",
        "tests/registry/test_backup.py::test_a_file_that_does_not_prove_is_refused",
    ),
    Mutant(
        "numbers of an idle node",
        "services/registry/recovering.py",
        "MARGIN = 2**20",
        "MARGIN = 0",
        "tests/registry/test_backup.py::test_signatures_of_an_idle_node_are_not_repeated",
    ),
    Mutant(
        "sealed",
        "services/registry/saving.py",
        'head = replace(head, hold="moved")',
        "head = replace(head, hold=None)",
        "tests/registry/test_moving.py::test_a_sealed_node_signs_nothing",
    ),
    Mutant(
        "another log",
        "services/witness.py",
        "if merkle.root(tree).hex() != close.log_root:",
        "if False:",
        "tests/registry/test_witness.py::test_a_longer_log_that_is_not_ours_is_not_taken",
    ),
    Mutant(
        "loss stops writing",
        "services/registry/recovering.py",
        'replace(head, hold="restored")',
        "head",
        "tests/registry/test_witness.py::test_a_witness_that_lies_gives_nothing",
    ),
    Mutant(
        "doctor: signature",
        "services/ledger_checks.py",
        "if not signing.verifies(key, signing.EVENT, event.raw, event.sig):",
        "if False:",
        "tests/registry/test_doctor.py::test_a_log_that_does_not_prove",
    ),
    Mutant(
        "doctor: root",
        "services/ledger_checks.py",
        "proofs.agree(tree, close)",
        "pass",
        "tests/registry/test_doctor.py::test_the_signature_over_the_log_is_over_what_the_head_says",
    ),
    Mutant(
        "doctor: all events",
        "services/ledger_checks.py",
        "elif after == head.floor and tree.peaks != head.peaks:",
        "elif False:",
        "tests/registry/test_doctor.py::test_an_event_that_was_rewritten_with_our_own_key",
    ),
    Mutant(
        "doctor: erased",
        "services/ledger_checks.py",
        "if (event.record, event.leaf) in gone:",
        "if event.erased:",
        "tests/registry/test_doctor.py::test_a_log_that_does_not_prove",
    ),
    Mutant(
        "doctor: root key",
        "services/ledger_checks.py",
        "return key in said.root_keys and key not in",
        "return key not in",
        "tests/registry/test_doctor.py::test_a_root_key_beside_the_online_keys",
    ),
    Mutant(
        "doctor: secrets",
        "services/doctor.py",
        """            text = text.replace(secret, "***")""",
        """            text = text.replace(secret, secret)""",
        "tests/test_doctor.py::test_a_check_that_hangs_or_has_a_bug_holds_up_nobody",
    ),
    Mutant(
        "poison",
        "services/proofs.py",
        "foreign.flaw(raw) or strict.ambiguity(raw)",
        "foreign.flaw(raw)",
        "tests/federation/test_poison.py",
    ),
    Mutant(
        "name twice",
        "services/strict.py",
        """body.count(b'":') != again.count(b'":')""",
        "False",
        "tests/federation/test_poison.py",
    ),
    Mutant(
        "2^53",
        "services/strict.py",
        "Meta(ge=-LARGEST, le=LARGEST)",
        "Meta()",
        "tests/federation/test_poison.py",
    ),
    Mutant(
        "deaf relay",
        "services/relay.py",
        "if not connection.connected.is_set():",
        "if connection.is_closed:",
        "tests/federation/test_weather.py::test_a_connection_that_went_deaf_is_found_within_35_seconds",
    ),
    Mutant(
        "cancelled by nobody",
        "services/broker.py",
        "if (task := asyncio.current_task()) is None or task.cancelling():",
        "if True:",
        "tests/federation/test_weather.py::test_what_the_library_says_of_a_lost_connection_is_weather",
    ),
    Mutant(
        "closed in the middle",
        "services/broker.py",
        "if type(error) is not Exception:",
        "if True:",
        "tests/federation/test_weather.py::test_what_the_library_says_of_a_lost_connection_is_weather",
    ),
    Mutant(
        "watermark",
        "services/relay.py",
        "            return confirmed, answer\n",
        "            return len(entries), answer\n",
        "tests/federation/test_weather.py::test_what_reaches_no_queue_does_not_count",
    ),
    Mutant(
        "deaf feed",
        "services/fetching.py",
        "sock_read=LONGEST_WAIT + 5",
        "sock_read=LONGEST_WAIT + 20",
        "tests/federation/test_weather.py::test_a_connection_that_went_deaf_is_found_within_35_seconds",
    ),
    Mutant(
        "old copy",
        "services/proofs.py",
        "if (now.n - before.n) * (now.size - before.size) < 0:",
        "if now.size < before.size:",
        "tests/federation/test_many_nodes.py::test_a_cache_of_old_answers_makes_no_fork",
    ),
    Mutant(
        "elder by the clock",
        "services/sync/records.py",
        "return minted(uuid) < record.created, uuid, record.id",
        "return minted(uuid) < record.created, record.time, record.id",
        "tests/federation/test_clocks.py::test_the_view_does_not_depend_on_anybodys_clock",
    ),
    Mutant(
        "interim answers",
        "services/interim.py",
        "if left < 0:",
        "if False:",
        "tests/federation/test_hostile_peers.py::test_attacking_peers_cost_a_bounded_amount_of_memory",
    ),
    Mutant(
        "idle reader",
        "services/http.py",
        "if isinstance(error, TimeoutError) and request.get(_STARTED) and",
        "if False and",
        "tests/federation/test_idle_readers.py",
    ),
    Mutant(
        "slow commit",
        "services/ledger_store.py",
        "FROM ledger_head FOR UPDATE",
        "FROM ledger_head",
        "tests/registry/test_slow_writer.py",
    ),
    Mutant(
        "empty cursor",
        "services/ledger_http.py",
        "await _now(served) if start is None else",
        "await _now(served) if not start else",
        "tests/federation/test_cursors.py",
    ),
    Mutant(
        "one id, two nodes",
        "services/evidence.py",
        'if source != f"urn:maillage:{whose.node}":',
        "if False:",
        "tests/sync/test_evidence.py",
    ),
    Mutant(
        "one id, two events",
        "services/evidence.py",
        "if first != second or a.raw == b.raw:",
        "if first != second:",
        "tests/sync/test_evidence.py",
    ),
    Mutant(
        "signature of evidence",
        "services/evidence.py",
        "if not signing.verifies(key, signing.EVENT, raw, foreign.unpacked(text.sig)):",
        "if False:",
        "tests/sync/test_evidence.py",
    ),
    Mutant(
        "witnessed root",
        "services/sync/witnesses.py",
        "if root is None or root.hex() == theirs.log_root:",
        "if True:",
        "tests/federation/test_equivocation.py::test_a_longer_story_is_caught_at_the_event_where_it_parts",
    ),
    Mutant(
        "lagging witness",
        "services/sync/witnesses.py",
        "theirs = proofs.checkpoint(signed, ours.whose)",
        "theirs = said",
        "tests/federation/test_equivocation.py::test_a_witness_that_lags_or_lies_changes_nothing",
    ),
    Mutant(
        "sticky fork",
        "services/follow_store.py",
        "WHERE node = $1 AND (state <> 'forked' OR $2 = 'forked')",
        "WHERE node = $1",
        "tests/federation/test_equivocation.py",
    ),
    Mutant(
        "mended from another holder",
        "services/audit.py",
        "return whole if whole is not None and whole.leaf == found.kept.leaf else None",
        "return whole",
        "tests/sync/test_repair.py::test_another_event_of_the_same_number_mends_nothing",
    ),
    Mutant(
        "signed root of a stored log",
        "services/audit.py",
        "if self.marks[size] == merkle.root(self.tree).hex():",
        "if True:",
        "tests/sync/test_repair.py::test_a_log_that_was_exchanged_is_found_by_its_roots",
    ),
    Mutant(
        "corrupt event",
        "services/sync/heard.py",
        "if one.raw and merkle.leaf(one.raw) != one.leaf:",
        "if False:",
        "tests/sync/test_repair.py::test_a_corrupt_event_ends_the_process",
    ),
    Mutant(
        "opaque",
        "services/sync/heard.py",
        "        latest.opaque\n        or foreign.flaw(latest.raw)",
        "        foreign.flaw(latest.raw)",
        "tests/sync/test_repair.py::test_what_could_not_be_read_is_read_after_an_upgrade",
    ),
    Mutant(
        "present chain",
        "services/observed_store.py",
        "AND c.size <= least($3, last)",
        "AND c.size <= $3",
        "tests/sync/test_observed.py",
    ),
    Mutant(
        "epoch",
        "services/proofs.py",
        "if base.root != merkle.root(tree).hex():",
        "if False:",
        "tests/federation/test_epochs.py::test_an_epoch_on_another_log_is_a_fork",
    ),
    Mutant(
        "old epoch",
        "services/ledger.py",
        "    if cursor[1] > last:",
        "    if False:",
        "tests/registry/test_keys.py::test_a_cursor_of_an_old_epoch_is_good_up_to_its_end",
    ),
    Mutant(
        "end of a fork",
        "services/follow.py",
        "return last is not None and last <= self.here.tree.size",
        "return True",
        "tests/federation/test_forked.py::test_contradicting_signatures_stop_a_node_as_forked",
    ),
    Mutant(
        "rewound records",
        "services/sync/upkeep.py",
        "return {n.node for n in followed if n.rewinds != merged.get(n.node, n.rewinds)}",
        "return set()",
        "tests/federation/test_epochs.py::test_a_shorter_log_in_a_new_epoch_is_followed_back",
    ),
    Mutant(
        "erase",
        "services/proofs.py",
        "event.type != events.RECORD_ERASE or leaf not in erased_leaves(event)",
        "event.type != events.RECORD_ERASE",
        "tests/federation/test_erase.py::test_what_is_hidden_without_its_erase_event_is_refused",
    ),
    Mutant(
        "erase event in the log",
        "services/follow.py",
        "        if seq is not None:\n            raise Untrue(",
        "        if False:\n            raise Untrue(",
        "tests/federation/test_erase.py::test_an_erase_event_that_never_comes_breaks_its_node",
    ),
    Mutant(
        "erased in the view",
        "services/sync/placing.py",
        "    await ledger_epochs.redact(work.conn, entries)",
        "    del entries",
        "tests/federation/test_erase.py::test_an_erasure_reaches_the_other_voices_of_a_place",
    ),
    Mutant(
        "erased again",
        "services/ledger_epochs.py",
        "for unsaid in await ledger_repair_store.unsaid_erasures(conn):",
        "for unsaid in ():",
        "tests/federation/test_erase.py::test_a_new_epoch_says_again_what_was_erased",
    ),
    Mutant(
        "threshold",
        "services/identity.py",
        "signatures(one, authority.root_keys) < authority.threshold:",
        "not signatures(one, authority.root_keys):",
        "tests/test_vectors.py::test_a_chain_that_does_not_hold",
    ),
    Mutant(
        "copy",
        "services/sync/merge.py",
        "if record.place is not None and record.id not in copied]",
        "if record.place is not None]",
        "tests/sync/test_fields.py::test_a_copy_gives_no_value",
    ),
    Mutant(
        "ring of copies",
        "services/sync/copies.py",
        "    return here == record",
        "    return False",
        "tests/sync/test_fields.py::test_copies_of_copies_and_rings",
    ),
    Mutant(
        "verified since",
        "services/sync/copies.py",
        "return on > known if",
        "return on >= known if",
        "tests/sync/test_fields.py::test_a_copy_that_was_verified_since_speaks",
    ),
    Mutant(
        "washed licence",
        "services/sync/merge.py",
        "copied = copies.originals(present)",
        "copied = copies.originals([r for r in present if reading.admits(r)])",
        "tests/sync/test_fields.py::test_no_copy_changes_the_licence_of_what_it_was_copied_from",
    ),
    Mutant(
        "hidden under a licence",
        "services/sync/merge.py",
        "_voices(speaking, hides(present), view_id, policy)",
        "_voices(speaking, hides(speaking), view_id, policy)",
        "tests/sync/test_fields.py::test_an_undisclosed_record_hides_however_the_place_is_read",
    ),
    Mutant(
        "hidden before",
        "services/sync/merge.py",
        "fields.veiled(was, policy) if hidden(after) else was",
        "was",
        "tests/sync/test_fields.py::test_a_change_does_not_tell_where_a_hidden_place_was",
    ),
    Mutant(
        "voice first",
        "services/sync/fields.py",
        "key=lambda r: (owner(r[1].record.id) != first, r[0])",
        "key=lambda r: r[0]",
        "tests/sync/test_fields.py::test_a_place_is_read_as_the_oracle_reads_it",
    ),
    Mutant(
        "claims under a licence",
        "services/sync/merge.py",
        "if reading.licenses is None or d.a in mine",
        "if True",
        "tests/sync/test_fields.py::test_what_others_say_of_it_is_not_of_the_licence",
    ),
    Mutant(
        "told again",
        "services/sync/noticing.py",
        "if field not in told]",
        "]",
        "tests/sync/test_noticing.py::test_what_stays_so_is_not_told_again",
    ),
    Mutant(
        "parted from nobody",
        "services/sync/noticing.py",
        "if placed.get(other, now.id) != now.id",
        "if placed.get(other) != now.id",
        "tests/sync/test_noticing.py::test_networks_are_told_that_their_records_were_parted",
    ),
    Mutant(
        "erased in a notice",
        "services/sync/placing.py",
        "(changes.notice(node, now.view, items, why), _leaves(now.view))",
        "(changes.notice(node, now.view, items, why), ())",
        "tests/sync/test_seen.py::test_what_is_erased_is_in_no_notice",
    ),
    Mutant(
        "rows of an older version",
        "services/sync/upkeep.py",
        "work.rows = stood is not None and stood[1] != adopted.id",
        "work.rows = False",
        "tests/sync/test_seen.py::test_rows_of_an_older_version_are_filled",
    ),
    Mutant(
        "erased for good",
        "services/registry/decide.py",
        "    if now.withdrawn == ERASED:\n        return Unchanged",
        "    if False:\n        return Unchanged",
        "tests/federation/test_erase.py::test_an_erased_record_never_comes_back",
    ),
    Mutant(
        "matcher: numbers",
        "services/sync/matching.py",
        'return "none" if found.numbers else "number"',
        'return "none"',
        "tests/sync/test_matching.py::test_numbers_are_never_fuzzy",
    ),
    Mutant(
        "matcher: middle of a commune",
        "services/sync/matching.py",
        "if (sight.a.site.coarse or sight.b.site.coarse) and far <= bounds[-1]:",
        "if False:",
        "tests/sync/test_matching.py::test_points_of_communes_are_no_evidence",
    ),
    Mutant(
        "matcher: elsewhere",
        "services/sync/matching.py",
        'last = "far" if "same" in (_commune(sight), _postcode(sight)) else "elsewhere"',
        'last = "far"',
        "tests/sync/test_matching.py::test_two_places_stay_two",
    ),
    Mutant(
        "matcher: veto",
        "services/sync/matching.py",
        "return all(set(mine).isdisjoint(theirs) for mine, theirs in owned)",
        "return False",
        "tests/sync/test_matching.py::test_what_is_precisely_elsewhere_is_no_one_place",
    ),
    Mutant(
        "matcher: order of a pair",
        "services/sync/matching.py",
        "    if b.record < a.record:\n        a, b = b, a\n",
        "",
        "tests/sync/test_matching.py::test_scores_are_symmetric",
    ),
    Mutant(
        "matcher: missing",
        "services/sync/matching.py",
        '        return MISSING\n    return "differs" if set(a).isdisjoint(b) else',
        '        return "differs"\n    return "differs" if set(a).isdisjoint(b) else',
        "tests/sync/test_matching.py::test_what_is_missing_is_a_level_of_its_own",
    ),
    Mutant(
        "matcher: one building",
        "services/sync/matching.py",
        'return ("both" if called else "address") if there else "neither"',
        'return "both" if there else "neither"',
        "tests/sync/test_matching.py::test_one_address_counts_with_one_name",
    ),
    Mutant(
        "matcher: gap of a policy",
        "services/sync/policy.py",
        "if level not in weights.get(f, {})]:",
        "if False]:",
        "tests/sync/test_matching.py::test_a_policy_that_would_fail_is_refused",
    ),
    Mutant(
        "matcher: words in one",
        "services/sync/alignment.py",
        "        if both in one:",
        "        if False:",
        "tests/sync/test_matching.py::test_words_may_be_written_in_one",
    ),
    Mutant(
        "matcher: dull words",
        "services/sync/naming.py",
        "len(word) == 1 or word in tables.generic or word in local",
        "len(word) == 1 or word in tables.generic",
        "tests/sync/test_profiles.py::test_words_that_tell_nothing_apart_weigh_little",
    ),
    Mutant(
        "matcher: platforms",
        "services/sync/reaching.py",
        "if domain in tables.platforms or host in tables.platforms:",
        "if False:",
        "tests/sync/test_profiles.py::test_sites_are_told_from_platforms",
    ),
    Mutant(
        "matcher: neighbours",
        "services/sync/locating.py",
        "for n in (0, 1) for e in (0, 1)]",
        "for n in (0,) for e in (0,)]",
        "tests/sync/test_profiles.py::test_neighbours_meet",
    ),
    Mutant(
        "matcher: undisclosed",
        "services/sync/profiles.py",
        'automatic=place.kind != "undisclosed" and place.join != "claims"',
        'automatic=place.kind != "undisclosed"',
        "tests/sync/test_profiles.py::test_nobody_is_joined_against_her_will",
    ),
    Mutant(
        "matcher: bounded",
        "services/sync/naming.py",
        "MOST_NAMES = 4",
        "MOST_NAMES = 10_000",
        "tests/sync/test_profiles.py::test_a_hostile_record_stays_small",
    ),
    Mutant(
        "margin",
        "services/sync/linking.py",
        "p > much - margin",
        "p > much",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "counts as one",
        "services/sync/linking.py",
        "for g, p in others if g != self._claimed.get(other, other)",
        "for g, p in others if g != other",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "lifted",
        "services/sync/linking.py",
        "found[pair] = max(points, matching.join)",
        "found[pair] = points",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "lifted from",
        "services/sync/linking.py",
        "points is not None and points >= matching.propose",
        "points is not None",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "kept apart",
        "services/sync/linking.py",
        "if pair not in ties.apart\n",
        "if True\n",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "asks first",
        "services/sync/records.py",
        'record.place is None or record.place.join != "claims"',
        "True",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "secret",
        "services/sync/linking.py",
        "        and ties.secret.isdisjoint(pair)\n",
        "",
        "tests/sync/test_joining.py::test_a_secret_place_is_joined_by_both_owners_only",
    ),
    Mutant(
        "a secret brought along",
        "services/sync/ties.py",
        "            found |= group\n",
        "            pass\n",
        "tests/sync/test_joining.py::test_a_secret_brought_along_joins_nobody",
    ),
    Mutant(
        "a copy with words of its own",
        "services/sync/copies.py",
        "        if not _verified_since(record, original):",
        "        if True:",
        "tests/sync/test_joining.py::test_a_copy_with_words_of_its_own_is_compared_like_any_other",
    ),
    Mutant(
        "copies of what is there",
        "services/sync/copies.py",
        "or original.place is None",
        "",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "too unlike",
        "services/sync/linking.py",
        "return points is None or points < self.matching.apart",
        "return False",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "veto",
        "services/sync/linking.py",
        "return points is None or points < self.matching.apart",
        "return points is not None and points < self.matching.apart",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "third parties split nobody",
        "services/sync/clusters.py",
        "yield pair, owners - {owner(a), owner(b)} or owners",
        "yield pair, owners",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "without the third",
        "services/sync/clusters.py",
        "elif all(voices.isdisjoint((owner(a), owner(b))) for _, voices in blocks):",
        "elif False:",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "claims first",
        "services/sync/clusters.py",
        "self.alike = [p for p in pairs if p in chosen and p not in copies]",
        "self.alike = [p for p in reversed(pairs) if p in chosen and p not in copies]",
        "tests/sync/test_merge.py::test_records_are_joined_as_the_oracle_joins_them",
    ),
    Mutant(
        "what is alike connects",
        "services/sync/store.py",
        "UNION SELECT b FROM alike WHERE a = ANY($1::text[]) AND points >= $2",
        "",
        "tests/sync/test_shuffles.py::test_any_order_gives_what_the_batch_gives",
    ),
    Mutant(
        "what is lifted connects",
        "services/sync/store.py",
        "WHERE c.b = ANY($1::text[]) AND c.verdict = 'same' AND l.points >= $3",
        "WHERE false",
        "tests/sync/test_shuffles.py::test_any_order_gives_what_the_batch_gives",
    ),
    Mutant(
        "silence on licences",
        "services/sync/fields.py",
        "and len(heard) == len(voices)",
        "",
        "tests/sync/test_fields.py::test_licences_are_those_of_all_voices",
    ),
    Mutant(
        "unknown licence",
        "services/sync/merge.py",
        "if len(known) < voices",
        "if not known",
        "tests/sync/test_fields.py::test_licences_are_those_of_all_voices",
    ),
    Mutant(
        "combined",
        "services/sync/api/exports.py",
        "COMBINED.issuperset(place.licenses)",
        "not COMBINED.isdisjoint(place.licenses)",
        "tests/sync/test_exports.py::test_what_may_not_be_combined_is_a_link",
    ),
    Mutant(
        "free",
        "services/sync/api/exports.py",
        "Reading(licenses=ETALAB)",
        "Reading(licenses=COMBINED)",
        "tests/sync/test_exports.py::test_what_is_free_stands_alone",
    ),
    Mutant(
        "past licence",
        "services/sync/api/exports.py",
        "(after.license or UNKNOWN,)",
        '(after.license or "CC0-1.0",)',
        "tests/sync/test_exports.py::test_the_past_of_files_is_what_events_tell",
    ),
    Mutant(
        "past of a place",
        "services/sync/history_store.py",
        "WHERE record = $1 || ':' || $2 AND seq <= $3 AND type",
        "WHERE record = $1 || ':' || $2 AND $3 > 0 AND type",
        "tests/sync/test_history.py::test_a_place_tells_what_became_of_it",
    ),
    Mutant(
        "where it was",
        "services/sync/history_store.py",
        '"SELECT view FROM stay WHERE record = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1"',
        '"SELECT view FROM stay WHERE record = $1 AND $2 > 0 ORDER BY seq DESC LIMIT 1"',
        "tests/sync/test_history.py::test_ids_find_the_places_they_were_in",
    ),
    Mutant(
        "while it was there",
        "services/sync/history_store.py",
        "AND (span.until IS NULL OR seq < span.until)",
        "",
        "tests/sync/test_history.py::test_ids_find_the_places_they_were_in",
    ),
    Mutant(
        "erased past",
        "services/sync/api/history.py",
        "if told.erased or told.type == RECORD_ERASE:",
        "if told.type == RECORD_ERASE:",
        "tests/sync/test_history.py::test_what_is_erased_stays_erased",
    ),
    Mutant(
        "hidden past",
        "services/sync/history_store.py",
        "AND e.erasure IS NULL\n                           AND NOT EXISTS",
        "AND e.erasure IS NULL\n                           AND true OR NOT EXISTS",
        "tests/sync/test_history.py::test_a_hidden_record_has_no_past",
    ),
    Mutant(
        "past since let go",
        "services/sync/api/past.py",
        "if head.floor and await",
        "if not head.floor and await",
        "tests/sync/test_history.py::test_what_the_log_let_go_of_is_not_guessed",
    ),
    Mutant(
        "clock set back",
        "services/sync/history_store.py",
        "SELECT max(seq) FROM (",
        "SELECT min(seq) FROM (",
        "tests/sync/test_history.py::test_a_clock_that_was_set_back_loses_no_place",
    ),
    Mutant(
        "millisecond",
        "services/sync/api/past.py",
        "moment.microsecond // 1000 * 1000) + LAST",
        "moment.microsecond // 1000 * 1000)",
        "tests/sync/test_history.py::test_times_are_said_strictly",
    ),
    Mutant(
        "changed since",
        "services/sync/history_store.py",
        "AND e.seq <= $1 AND r.seq > $1",
        "AND r.seq > $1 AND $1 > 0",
        "tests/sync/test_stats.py::test_the_past_is_what_the_log_told",
    ),
    Mutant(
        "unchanged since",
        "services/sync/history_store.py",
        "|| id WHERE r.seq <= $1",
        "|| id WHERE r.seq >= $1",
        "tests/sync/test_stats.py::test_the_past_is_what_the_log_told",
    ),
    Mutant(
        "said two",
        "services/sync/alike_store.py",
        "coalesce(said_b NOT IN ('distinct', 'part-of'), true)",
        "true",
        "tests/sync/test_proposals.py::test_an_owner_who_says_two_ends_it",
    ),
    Mutant(
        "answered by another",
        "services/sync/alike_store.py",
        "j.network = s.network_b",
        "false",
        "tests/sync/test_proposals.py::test_who_has_joined_another_has_answered",
    ),
    Mutant(
        "joined already",
        "services/sync/alike_store.py",
        "WHERE ma.view <> mb.view AND",
        "WHERE",
        "tests/sync/test_proposals.py::test_who_says_it_of_several_is_asked_which",
    ),
    Mutant(
        "proposed once",
        "services/sync/alike_store.py",
        "SELECT DISTINCT ON (least(view_a, view_b), greatest(view_a, view_b)) {SHOWN}",
        "SELECT {SHOWN}",
        "tests/sync/test_proposals.py::test_two_places_are_proposed_once",
    ),
    Mutant(
        "points of a secret place",
        "services/sync/alike_store.py",
        "NOT wished OR EXISTS (SELECT FROM reach",
        "true OR EXISTS (SELECT FROM reach",
        "tests/sync/test_proposals.py::test_where_a_secret_place_is_is_not_told_by_points",
    ),
    Mutant(
        "page of equals",
        "services/sync/alike_store.py",
        "OR rank = $3 AND (a, b) > ($4::text, $5::text)",
        "",
        "tests/sync/test_proposals.py::test_pages_give_every_proposal_once",
    ),
    Mutant(
        "proposal of others",
        "services/registry/proposing.py",
        "if mine.owner == node != theirs.owner:",
        "if node != theirs.owner:",
        "tests/federation/test_proposals.py::test_a_sync_is_not_believed",
    ),
    Mutant(
        "answer given",
        "services/registry/answering.py",
        "if every or offer.answer is None]",
        "]",
        "tests/federation/test_proposals.py::test_both_answer_and_it_is_one_place",
    ),
    Mutant(
        "explained secret",
        "services/sync/explaining.py",
        "secret = hides(known.values())",
        "secret = False",
        "tests/sync/test_explaining.py::test_what_may_not_be_told_is_not",
    ),
    Mutant(
        "disputed alone",
        "services/sync/alike_store.py",
        "x.verdict = 'same' AND y.verdict IN ('distinct', 'part-of')",
        "x.verdict = 'same' AND y.verdict <> 'same'",
        "tests/sync/test_proposals.py::test_what_owners_contradict_each_other_on_is_listed",
    ),
    Mutant(
        "explained by what was not sure",
        "services/sync/explaining.py",
        "if found.why is None and p not in ties.apart",
        "if p not in ties.apart",
        "tests/sync/test_explaining.py::test_what_was_not_sure_is_no_tie",
    ),
    Mutant(
        "proposal of a secret place",
        "services/sync/api/proposals.py",
        "told = pair.points is not None and pair.view_a not in secret and pair.view_b not in secret",
        "told = pair.points is not None",
        "tests/sync/test_proposals.py::test_what_another_record_keeps_secret_is_not_told_by_points",
    ),
    Mutant(
        "claim from a stranger",
        "services/registry/claims.py",
        "if owner != node:",
        "if False:",
        "tests/registry/test_claims_cli.py::test_what_the_api_refuses_is_refused_here",
    ),
)


def survives(mutant: Mutant, tree: Path) -> bool:
    """Whether its test passes on a tree with the mutant in it."""
    file = tree / mutant.file
    text = file.read_text("utf-8")
    if text.count(mutant.before) != 1:
        raise SystemExit(f"{mutant.name}: its line stands {text.count(mutant.before)} times in {mutant.file}")
    file.write_text(text.replace(mutant.before, mutant.after), "utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.test]
        ended = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=300, check=False)
    finally:
        file.write_text(text, "utf-8")
    if ended.returncode not in (0, 1):
        raise SystemExit(
            f"{mutant.name}: {mutant.test} did not run\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        )
    return ended.returncode == 0


def main() -> int:
    """Try every mutant (or those named on the command line); the exit code is 1 when one survives."""
    wanted = [m for m in MUTANTS if m.name in sys.argv[1:] or len(sys.argv) == 1]
    alive = []
    with tempfile.TemporaryDirectory(prefix="maillage-mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT, symlinks=True)
        Path(folder).chmod(0o755)
        for number, mutant in enumerate(wanted, start=1):
            lives = survives(mutant, tree)
            alive += [mutant.name] if lives else []
            print(f"{number}/{len(wanted)} {mutant.name}: {'SURVIVES' if lives else 'killed'}", flush=True)
    print(f"{len(wanted) - len(alive)} of {len(wanted)} mutants killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
