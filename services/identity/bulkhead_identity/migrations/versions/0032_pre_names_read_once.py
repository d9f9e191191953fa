"""Whether a name reads like support is asked of a function that is planned once a session."""

from importlib import import_module

from bulkhead_kit.migrations import run_sql

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    run_sql(PLANNED)


def downgrade() -> None:
    before = import_module("bulkhead_identity.migrations.versions.0031_pre_names_of_support").READS
    run_sql(before.partition("revoke")[0].replace("create function", "create or replace function"))


# In SQL it was read and planned by each statement that stores a name, and each name of it: 0.3 ms. Nearly all names are
# ASCII, where nothing stands above a letter.
PLANNED = """
create or replace function identity.reads_like_support(p_name text) returns boolean
language plpgsql immutable parallel safe
as $$
begin
    if octet_length(p_name) = length(p_name) then
        return octet_length(p_name) >= 15 and position(
        'bulkheadsupport' in regexp_replace(lower(p_name collate "C"), '[^a-z]+', '', 'g')
        ) > 0;
    end if;
    return position(
    'bulkheadsupport' in regexp_replace(normalize(app.fold(p_name), nfkd) collate "C", '[^a-z]+', '', 'g')
    ) > 0;
end
$$;
"""
