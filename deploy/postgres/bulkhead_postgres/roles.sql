-- Every role of an installation. Run by an administrator before the first migration; running it again changes nothing.
-- No role here owns a schema and can log in: migrations are run by the administrator's login, which takes an
-- owner's place with SET ROLE. So no login of a service can ever become the owner of what it uses.

do $$
declare
    wanted record;
    may_close boolean;
begin
    for wanted in
        select * from (values
            -- own schemas, tables and trigger functions
            ('bulkhead_app_owner', 'nologin'),
            ('bulkhead_identity_owner', 'nologin'),
            ('bulkhead_issues_owner', 'nologin'),
            ('bulkhead_audit_owner', 'nologin'),
            -- own the closed list of functions that look across tenants, each with just the policies it needs
            ('bulkhead_identity_definer', 'nologin'),
            ('bulkhead_issues_definer', 'nologin'),
            ('bulkhead_issues_search', 'nologin'),
            ('bulkhead_audit_partition', 'nologin'),
            ('bulkhead_audit_definer', 'nologin'),
            -- the RPCs
            ('bulkhead_identity_app', 'login'),
            ('bulkhead_issues_app', 'login'),
            ('bulkhead_audit_app', 'login'),
            ('bulkhead_platform_app', 'login'),
            -- the outbox, and nothing else
            ('bulkhead_identity_relay', 'login'),
            ('bulkhead_issues_relay', 'login'),
            -- due work: expiry, mail, partitions
            ('bulkhead_identity_worker', 'login'),
            ('bulkhead_issues_worker', 'login'),
            ('bulkhead_audit_worker', 'login'),
            -- commands of operators, never a service
            ('bulkhead_ops', 'login'),
            ('bulkhead_eraser', 'login'),
            ('bulkhead_backup', 'login')
        ) as r (role_name, may_log_in)
    loop
        if not exists (select from pg_catalog.pg_roles where rolname = wanted.role_name) then
            execute format('create role %I %s noinherit', wanted.role_name, wanted.may_log_in);
            -- The mark by which they are known again. Roles of these names without it are refused before this runs.
            execute format('comment on role %I is %L', wanted.role_name, 'Made by bulkhead migrate.');
        end if;
        if wanted.may_log_in = 'login' then
            -- Names are always schema-qualified; an empty path makes a forgotten schema an error, not a guess.
            execute format('alter role %I set search_path = ''''', wanted.role_name);
            execute format('alter role %I set timezone = ''UTC''', wanted.role_name);
            execute format('alter role %I set jit = off', wanted.role_name);
            execute format('alter role %I set idle_in_transaction_session_timeout = ''10s''', wanted.role_name);
            execute format('alter role %I set statement_timeout = ''30s''', wanted.role_name);
            execute format('alter role %I set lock_timeout = ''10s''', wanted.role_name);
        end if;
    end loop;

    -- A dump under FORCE ROW LEVEL SECURITY would miss rows; only the backup reads past the wall. It reads every table,
    -- those to come too, and writes none.
    if not (select r.rolbypassrls from pg_catalog.pg_roles as r where r.rolname = 'bulkhead_backup')
        or not pg_catalog.pg_has_role('bulkhead_backup', 'pg_read_all_data', 'usage') then
        begin
            alter role bulkhead_backup bypassrls inherit;
            grant pg_read_all_data to bulkhead_backup;
        exception when insufficient_privilege then
            raise warning 'dumps will fail until a superuser runs: '
                'alter role bulkhead_backup bypassrls inherit; grant pg_read_all_data to bulkhead_backup';
        end;
    end if;

    -- Migrations take the place of owners and definers with SET ROLE. A superuser may; anybody else has to be let in.
    if not (select r.rolsuper from pg_catalog.pg_roles as r where r.rolname = current_user) then
        grant bulkhead_app_owner, bulkhead_identity_owner, bulkhead_issues_owner, bulkhead_audit_owner,
            bulkhead_identity_definer, bulkhead_issues_definer, bulkhead_issues_search,
            bulkhead_audit_partition, bulkhead_audit_definer
        to current_user;
    end if;

    -- TEMP lets a role make operators and functions of its own, the raw material of every way round a policy.
    execute format('revoke all on database %I from public', current_database());
    for wanted in select rolname as role_name from pg_catalog.pg_roles where rolcanlogin and rolname in (
        'bulkhead_identity_app', 'bulkhead_issues_app', 'bulkhead_audit_app', 'bulkhead_platform_app',
        'bulkhead_identity_relay', 'bulkhead_issues_relay', 'bulkhead_identity_worker', 'bulkhead_issues_worker',
        'bulkhead_audit_worker', 'bulkhead_ops', 'bulkhead_eraser', 'bulkhead_backup'
    )
    loop
        execute format('grant connect on database %I to %I', current_database(), wanted.role_name);
    end loop;
    revoke all on schema public from public;

    -- What PostgreSQL lets every login do in every database, and one that only reads could stop the others by: hold the
    -- lock that a tenant's writes or the relay wait for, fill the disk with large objects or with WAL, end the sessions
    -- of its own role. `bulkhead doctor` looks for the same names.
    may_close := (select r.rolsuper from pg_catalog.pg_roles as r where r.rolname = current_user);
    for wanted in
        select distinct p.oid::pg_catalog.regprocedure::text as role_name
        from pg_catalog.pg_proc as p, pg_catalog.aclexplode(
            coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
        ) as g
        where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace and g.grantee = 0 and p.proname
            ~ '^(pg_(try_)?advisory_.*|lo_.*|loread|lowrite|pg_logical_emit_message|pg_(cancel|terminate)_backend)$'
    loop
        if not may_close then
            raise warning 'every login may hold locks and fill the disk until a superuser runs: bulkhead migrate';
            exit;
        end if;
        execute format('revoke execute on function %s from public', wanted.role_name);
    end loop;
    -- A function that needs a lock takes it with its owner's rights; so no login has any, but who migrates.
    for wanted in
        select r.role_name, r.function_name from (
            select o.role_name, f.function_name
            from unnest(array[
                'bulkhead_identity_owner', 'bulkhead_issues_owner', 'bulkhead_audit_owner', 'bulkhead_identity_definer', 'bulkhead_issues_definer', 'bulkhead_audit_partition'
            ]) as o (role_name)
            cross join unnest(array[
                'pg_advisory_xact_lock(bigint)', 'pg_advisory_xact_lock_shared(bigint)',
                'pg_try_advisory_xact_lock(bigint)', 'pg_try_advisory_xact_lock_shared(bigint)',
                'pg_try_advisory_lock(bigint)'
            ]) as f (function_name)
            union all
            select pg_catalog.pg_get_userbyid(d.datdba), 'pg_advisory_lock(bigint)' from pg_catalog.pg_database as d
            where d.datname = current_database()
        ) as r
        where may_close and not pg_catalog.has_function_privilege(
            r.role_name, 'pg_catalog.' || r.function_name, 'execute'
        )
    loop
        execute format(
            'grant execute on function pg_catalog.%s to %I', wanted.function_name, wanted.role_name
        );
    end loop;

    -- The schemas exist before their migrations, so that a version table has a home and an owner.
    for wanted in select unnest(array['app', 'identity', 'issues', 'audit']) as role_name
    loop
        if not exists (select from pg_catalog.pg_namespace where nspname = wanted.role_name) then
            execute format(
                'create schema %I authorization %I', wanted.role_name, 'bulkhead_' || wanted.role_name || '_owner'
            );
        end if;
    end loop;

    -- Attaching a partition takes the parent's owner. No login is a member of either role.
    alter role bulkhead_audit_partition inherit;
    grant bulkhead_audit_owner to bulkhead_audit_partition;
end
$$;
