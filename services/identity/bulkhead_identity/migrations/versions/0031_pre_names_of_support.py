"""No name reads like that of support, whoever writes it: only the database marks who comes to help."""

from bulkhead_kit.migrations import run_sql

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    run_sql(READS)
    run_sql(REFUSE)
    for table, columns, condition in TABLES:
        reads = "\n    or ".join(READ.replace("COLUMN", column) for column in columns)
        demand = DEMAND.replace("TABLE", table).replace("COLUMNS", ", ".join(columns)).replace("FIELD", columns[0])
        run_sql(demand.replace("CONDITION", condition + "(" + reads + ")"))


def downgrade() -> None:
    for table, *_ in TABLES:
        run_sql("drop trigger ae_demand_own_name on identity.TABLE;".replace("TABLE", table))
    run_sql("""
    drop function identity.refuse_name();
    drop function identity.reads_like_support(text);
    """)


# Triggers and no CHECKs: a row of before keeps its name until it gets another one, and can be changed otherwise. They
# come behind those that give a member the name of the person.
TABLES = (
    ("users", ("full_name", "first_name", "last_name"), ""),
    ("one_time_tokens", ("full_name",), ""),
    ("memberships", ("display_name",), "new.support_until is null and "),
    ("tenants", ("name",), ""),
    ("teams", ("name",), ""),
    ("api_keys", ("display_name",), ""),
)

DEMAND = """
create trigger ae_demand_own_name before insert or update of COLUMNS on identity.TABLE
for each row when (
    CONDITION
) execute function identity.refuse_name('FIELD');
"""
READ = "identity.reads_like_support(new.COLUMN)"

READS = """
create function identity.reads_like_support(p_name text) returns boolean
language sql immutable parallel safe
as $$
    select position(
    'bulkheadsupport' in regexp_replace(normalize(app.fold(p_name), nfkd) collate "C", '[^a-z]+', '', 'g')
    ) > 0
$$;
revoke all on function identity.reads_like_support(text) from public;
grant execute on function identity.reads_like_support(text)
to bulkhead_identity_app, bulkhead_identity_definer, bulkhead_identity_worker;
comment on function identity.reads_like_support(text) is
'Whether it reads "Bulkhead support", whatever stands between and above its letters. lookalikes.py knows more letters.';
"""

REFUSE = """
create function identity.refuse_name() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform app.refuse(
        3, 'INVALID_FIELD', tg_argv[0] || ': must not read like the names of those who come to help',
        jsonb_build_object('field', tg_argv[0])
    );
    return null;
end
$$;
revoke all on function identity.refuse_name() from public;
comment on function identity.refuse_name() is
'Nobody is called like those who come to help.';
"""
