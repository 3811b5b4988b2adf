-- Who may read, change or call what: one table, which apply_access_rules() puts into force.
--
-- The owner and the functions that run as the owner may do everything. Nobody else may do anything that is not
-- listed here. A test compares the table with the running catalogue.
create table automatch.access_rules (
    kind text not null,
    -- With its schema. A table stands for its partitions and its sequences too, a function for all of its name.
    object text not null,
    grantee text not null,
    -- As after `grant`; columns in brackets.
    privileges text not null,
    -- For tables: the name of the policy, and which rows the grantee sees.
    policy text,
    visible text,
    primary key (kind, object, grantee),
    constraint kind_is_known check (kind in ('schema', 'table', 'sequence', 'function')),
    constraint table_has_a_policy check (
        (kind = 'table') = (policy is not null) and (kind = 'table') = (visible is not null)
    )
);
comment on table automatch.access_rules is
    'Who may do what. After a change apply_access_rules() puts it into force.';

insert into automatch.access_rules (kind, object, grantee, privileges)
select r.kind, o.object, g.grantee, r.privileges
from (values
    ('schema', 'usage', 'anon authenticated service_role automatch_schedule', 'automatch'),
    -- The type of a parameter is resolved as the login, before it becomes anyone.
    ('schema', 'usage', 'anon authenticated service_role automatch_api automatch_worker automatch_schedule', 'public extensions'),
    ('sequence', 'usage', 'service_role', 'automatch.match_numbers'),
    ('function', 'execute', 'anon authenticated service_role', '
        automatch.claims automatch.now automatch.raise_error automatch.uid
    '),
    ('function', 'execute', 'authenticated', '
        public.block_profile public.check_upload_limits public.choose_face public.count_photo_views public.delete_face
        public.dismiss_match public.erase_account public.explain_match_job public.feed_page public.feed_position
        public.get_search_wait public.get_share public.like_profile public.save_share public.unlike_profile
        public.list_matches public.list_new_matches public.mark_matches_seen public.show_match
        public.list_hidden_profiles public.list_photo_views public.last_match_number public.list_schools public.match_pool
        public.matches_after public.record_consent public.record_upload public.require_photo_challenge public.save_profile
        public.set_discoverable public.set_language public.unblock_profile public.refused_photo
        public.undo_dismissal public.viewable_photo
    '),
    -- Notifications: what people choose, and what the server tells.
    ('function', 'execute', 'authenticated', '
        public.forget_push_subscription public.get_digest public.is_search_paused public.save_push_subscription public.set_digest
    '),
    -- Schools: what people do, who lets them in, and what the list is kept by.
    ('function', 'execute', 'authenticated', '
        public.get_membership public.join_school public.leave_school public.request_membership
    '),
    ('function', 'execute', 'automatch_api', 'public.find_invitation'),
    -- What open pages and apps are told, read for many people at once.
    ('function', 'execute', 'automatch_api', '
        public.take_role_of public.list_ended_sessions public.read_feed_positions public.read_feeds public.read_match_pools
        public.read_memberships public.read_new_matches public.read_own_cases public.read_own_jobs
        public.read_unseen_matches
    '),
    ('function', 'execute', 'service_role', 'automatch.find_school'),
    ('function', 'execute', 'automatch_worker service_role', 'public.settle_changes'),
    ('function', 'execute', 'automatch_api service_role', '
        public.add_school public.change_person public.change_school public.decide_membership public.end_invitation
        public.get_schools public.invite_to_school public.list_invitations public.list_membership_requests
        public.merge_schools public.refresh_school_proofs public.remove_school public.rename_finished_jobs
        public.rename_school public.set_school_open
    '),
    ('function', 'execute', 'authenticated service_role', '
        automatch.caller_may_see automatch.count_shown_matches automatch.must_consent_again
    '),
    ('function', 'execute', 'authenticated automatch_api service_role', '
        public.current_notices
    '),
    -- Reports and cases: people, whoever has a mailed link, operators.
    ('function', 'execute', 'authenticated', '
        public.find_shown_person public.list_own_case_messages public.list_own_cases public.report_profile
        public.withdraw_report public.write_to_case
    '),
    ('function', 'execute', 'automatch_api', '
        public.create_case_token public.find_case_token public.find_ban public.inherit_departure
        public.list_case_messages_by_token public.prove_take_down public.request_take_down public.write_to_case_by_token
    '),
    ('function', 'execute', 'automatch_api service_role', '
        public.answer_case public.ban_address public.decide_case public.find_case_recipient
        public.lift_ban
        public.list_case_acts public.list_case_messages public.list_case_viewers public.list_cases
        public.open_case_photo public.point_case public.read_case
    '),
    ('function', 'execute', 'authenticated automatch_api automatch_worker service_role', '
        public.active_embedding_model
    '),
    ('function', 'execute', 'automatch_api', '
        public.begin_photo_challenge public.pass_photo_challenge public.take_photo_challenge
        public.charge_rate_limits public.enqueue_mail public.export_person public.feed_versions public.finish_mail
        public.get_language public.get_match_job_progress public.get_rate_limit_wait public.is_trigger_key public.list_due_match_jobs
        public.list_backup_runs public.list_mails public.postpone_mail public.read_mail public.record_photo_views
        public.refund_rate_limits public.resend_mail public.take_mail
        public.end_digest public.finish_push public.postpone_push public.read_digest public.take_pushes
    '),
    -- What servers tell of themselves, and what operators see of it.
    ('function', 'execute', 'automatch_api', '
        public.count_waiting public.count_workers public.forget_server public.get_history public.get_job_rates public.list_failure_reasons
        public.list_schedule public.list_servers public.list_worker_faults public.record_deliveries public.report_server
    '),
    -- What operators do, once the server has checked that they may.
    ('function', 'execute', 'automatch_api', '
        public.create_person public.find_operator public.find_operator_role public.find_people
        public.find_person_by_email public.freeze_person public.list_impersonations public.list_operators public.open_act
        public.record_act
        public.set_operator_role public.show_person public.unfreeze_person
    '),
    ('function', 'execute', 'automatch_api', 'public.get_metrics'),
    -- What leads, and what the two cron jobs call.
    ('function', 'execute', 'automatch_schedule', '
        automatch.ensure_match_schedule automatch.lock_key automatch.read_trigger_key public.cleanup_old_match_jobs
    '),
    ('function', 'execute', 'automatch_api automatch_worker', '
        public.claim_photo_store public.schema_version public.enqueue_receipt public.erase_person public.is_session_live
        public.list_erasures_to_log public.mark_erasures_logged
    '),
    ('function', 'execute', 'automatch_worker', '
        public.delete_old_matches public.enqueue_digests public.is_backup_due public.list_people_to_erase public.record_history
        public.warn_inactive_people
    '),
    ('function', 'execute', 'automatch_api automatch_worker service_role', '
        public.get_search_recall
    '),
    ('function', 'execute', 'automatch_api service_role', '
        public.cancel_match_jobs public.count_import_jobs public.count_waiting_match_jobs public.decide_held_photo
        public.decide_suspected_duplicate public.end_smoke_tests public.find_imported_photo public.finish_import
        public.get_match_job_stats public.get_match_queue public.get_match_same_person
        public.get_match_threshold public.get_site_operator public.import_photo public.list_audit_log public.list_import_failures
        public.list_held_photos public.open_held_photo public.list_match_jobs public.list_notices public.list_suspected_duplicates public.pause_match_jobs
        public.preview_match_thresholds public.prioritize_match_jobs public.publish_notice public.requeue_match_job
        public.resume_match_jobs public.retry_failed_match_jobs public.set_match_concurrency
        public.change_cron_job public.change_setting public.list_cron_jobs public.list_cron_runs public.read_settings
        public.begin_model_change public.compare_models public.count_comparable_people public.count_retryable_match_jobs
        public.finish_model_change public.get_model_change public.list_refused_faces public.list_similarity_scales
        public.retire_model_change public.roll_back_model_change public.sample_stranger_distances public.use_similarity_scale
        public.set_match_same_person public.set_match_threshold public.set_site_operator public.start_smoke_test
    '),
    ('function', 'execute', 'automatch_worker service_role', '
        public.recheck_duplicates public.get_chosen_face
        public.claim_match_jobs public.delete_expired_rows public.clean_up_rate_limits
        public.clean_up_search_audits public.cleanup_old_match_jobs
        public.complete_match_jobs public.delete_unrescored_matches public.enqueue_reruns
        public.erase_unanswered_photo public.fail_match_jobs public.register_idle public.await_turn public.look_around
        public.complete_match_jobs_with_candidates
        public.detect_duplicates public.preparing_model public.read_search_group public.read_search_jobs
        public.refuse_faces_to_embed public.release_match_jobs public.renew_match_leases public.report_worker_fault public.lead_maintenance
        public.release_worker_match_jobs public.rescore_matches_for_model public.rescore_matches public.retry_match_jobs
        public.seconds_to_next_match_job public.unregister_idle public.store_face_embeddings
        public.store_prepared_embeddings public.sweep_match_jobs public.take_faces_to_embed
    '),
    -- Some of them by the checks and triggers of what it may write.
    ('function', 'execute', 'service_role', '
        automatch.are_face_boxes automatch.cosine_bound automatch.find_candidates automatch.has_consent
        automatch.is_audited automatch.is_face_box automatch.is_moving_embeddings automatch.is_renaming automatch.similarity
        public.add_similarity_scale public.enqueue_match_job public.find_similar_faces_filtered
    ')
) as r (kind, privileges, grantees, objects)
cross join regexp_split_to_table(btrim(r.grantees), '\s+') as g (grantee)
cross join regexp_split_to_table(btrim(r.objects, E' \n'), '\s+') as o (object);

-- The service sees every row of what it may read.
insert into automatch.access_rules (kind, object, grantee, privileges, policy, visible)
select 'table', o.object, 'service_role', r.privileges, 'service', 'true'
from (values
    ('select, insert, update, delete', '
        automatch.feed_entries automatch.feed_counters automatch.group_indexes automatch.import_erasures
        automatch.frozen_profiles automatch.held_faces automatch.imported_people automatch.imported_photos automatch.memberships
        automatch.paused_schools automatch.photo_erasures automatch.photo_sweep automatch.schools
        automatch.queue_settings automatch.reruns automatch.duplicate_checks automatch.search_audits
        automatch.search_settings automatch.similarity_scales automatch.suspected_duplicates automatch.smoke_test_runs
        public.embedding_models public.face_embeddings public.face_index public.faces
        public.match_dismissals public.match_jobs
        public.match_settings public.matches public.profile_blocks public.profiles
    '),
    ('select, insert', 'automatch.audit_log public.biometric_consents'),
    ('select', 'automatch.faces_to_embed automatch.model_changes public.consent_texts')
) as r (privileges, objects)
cross join regexp_split_to_table(btrim(r.objects, E' \n'), '\s+') as o (object);

-- A person sees their own rows, and of matches those with people whom they may see.
insert into automatch.access_rules (kind, object, grantee, privileges, policy, visible)
values
    ('table', 'public.consent_texts', 'anon', 'select', 'anon_reads', 'true'),
    ('table', 'public.consent_texts', 'authenticated', 'select', 'authenticated_reads', 'true'),
    ('table', 'public.profiles', 'authenticated', 'select', 'own_profile', 'id = (select automatch.uid())'),
    ('table', 'public.biometric_consents', 'authenticated', 'select', 'own_consents',
        'profile_id = (select automatch.uid())'),
    ('table', 'public.faces', 'authenticated',
        'select (id, profile_id, created_at)', 'own_faces', 'profile_id = (select automatch.uid())'),
    -- Of the model in use.
    ('table', 'public.face_embeddings', 'authenticated', 'select (face_id, model, quality, created_at)',
        'own_embeddings', 'model = (select public.active_embedding_model()) and face_id in ('
        'select f.id from public.faces as f where f.profile_id = (select automatch.uid()))'),
    ('table', 'public.match_jobs', 'authenticated',
        'select (id, user_id, face_id, status, attempts, max_attempts, error_code, error_message, created_at, '
        'started_at, completed_at, match_count, timings, face_boxes, refused_picture, request_id)', 'own_jobs',
        'user_id = (select automatch.uid())'),
    -- Everything but the exact similarity.
    ('table', 'public.matches', 'authenticated', 'select (id, face_a_id, face_b_id, created_at)', 'own_matches',
        '(select automatch.uid()) in (profile_a_id, profile_b_id) and automatch.caller_may_see('
        'case when profile_a_id = (select automatch.uid()) then profile_b_id else profile_a_id end)'),
    ('table', 'public.match_dismissals', 'authenticated', 'select', 'own_dismissals',
        'profile_id = (select automatch.uid())'),
    ('table', 'public.profile_blocks', 'authenticated', 'select', 'own_blocks',
        'profile_id = (select automatch.uid())');

create function automatch.apply_table_rules(p_table regclass)
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_root regclass := coalesce(pg_partition_root(p_table), p_table);
    v_name text;
    v_rule automatch.access_rules;
begin
    for v_name in select p.polname from pg_policy as p where p.polrelid = p_table loop
        execute format('drop policy %I on %s', v_name, p_table);
    end loop;
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    -- Forced row level security binds the owner too, and so the functions that run as the owner.
    execute format('create policy owner on %s to %I using (true) with check (true)', p_table, current_user);
    execute format(
        'revoke all on %s from public, anon, authenticated, service_role, automatch_api, automatch_worker, '
        'automatch_schedule', p_table
    );
    for v_name in
        select s.objid::regclass from pg_depend as s
        join pg_class as c on c.oid = s.objid and c.relkind = 'S'
        where s.refobjid = p_table and s.classid = 'pg_class'::regclass
    loop
        execute format(
            'revoke all on sequence %s from public, anon, authenticated, service_role, automatch_api, '
            'automatch_worker, automatch_schedule', v_name
        );
    end loop;
    for v_rule in select * from automatch.access_rules as r where r.kind = 'table' and r.object = v_root::text loop
        execute format(
            'create policy %I on %s for %s to %I using (%s)', v_rule.policy, p_table,
            case when v_rule.privileges like '%insert%' then 'all' else 'select' end, v_rule.grantee,
            v_rule.visible
        );
        if v_root = p_table then
            execute format('grant %s on %s to %I', v_rule.privileges, p_table, v_rule.grantee);
        end if;
    end loop;
end
$$;
comment on function automatch.apply_table_rules(regclass) is
    'Put the rules of a table, or of the table that it is a partition of, into force.';

create function automatch.apply_access_rules()
returns void language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
    v_object record;
    v_table regclass;
    v_rule automatch.access_rules;
begin
    revoke all on schema automatch from public;
    -- Into an array first: access_rules itself cannot be altered while it is being read.
    foreach v_table in array array(
        select c.oid::regclass from pg_class as c
        where c.relkind in ('r', 'p') and (
            c.relnamespace = 'automatch'::regnamespace
            or exists (
                select from automatch.access_rules as r
                where r.kind = 'table' and r.object = coalesce(pg_partition_root(c.oid), c.oid)::regclass::text
            )
        )
    )
    loop
        perform automatch.apply_table_rules(v_table);
    end loop;
    -- All overloads of one name; a function of an operator's own in public is not ours to judge.
    for v_object in
        select p.oid::regprocedure as signature, format('%I.%I', n.nspname, p.proname) as name
        from pg_proc as p
        join pg_namespace as n on n.oid = p.pronamespace
        where n.nspname = 'automatch' or n.nspname = 'public' and exists (
            select from automatch.access_rules as r
            where r.kind = 'function' and r.object = format('%I.%I', n.nspname, p.proname)
        )
    loop
        execute format(
            'revoke all on function %s from public, anon, authenticated, service_role, automatch_api, '
            'automatch_worker, automatch_schedule', v_object.signature
        );
        for v_rule in
            select * from automatch.access_rules as r where r.kind = 'function' and r.object = v_object.name
        loop
            execute format('grant execute on function %s to %I', v_object.signature, v_rule.grantee);
        end loop;
    end loop;
    for v_rule in select * from automatch.access_rules as r where r.kind in ('schema', 'sequence') loop
        execute format('grant %s on %s %s to %I', v_rule.privileges, v_rule.kind, v_rule.object, v_rule.grantee);
    end loop;
end
$$;
comment on function automatch.apply_access_rules() is
    'Take all rights of everybody on everything of ours, and grant those of the table.';

select automatch.apply_access_rules();

-- What tells of a person stays out of the samples that the planner keeps, where an erasure would not reach it, and
-- marks the tables that are rewritten after one (automatch.postgres.erased_data).
do $$
declare
    v_column text[];
begin
    foreach v_column slice 1 in array array[
        ['public.profiles', 'email'], ['public.profiles', 'name'], ['public.profiles', 'birth_date'],
        ['public.biometric_consents', 'evidence'], ['public.faces', 'image_sha256'],
        ['public.face_embeddings', 'embedding'], ['public.face_index', 'embedding'],
        ['automatch.sharded_embeddings', 'embedding'],
        ['automatch.imported_people', 'email_sha256'], ['automatch.mails', 'recipient'],
        ['automatch.case_messages', 'body'], ['automatch.case_contacts', 'address'],
        ['automatch.push_subscriptions', 'endpoint'], ['automatch.shares', 'sentence'], ['automatch.shares', 'handle']
    ] loop
        execute format('alter table %s alter column %I set statistics 0', v_column[1], v_column[2]);
    end loop;
end
$$;

-- Now that its partitions can take the rules of their tables.
select automatch.add_model_partitions('dlib');
