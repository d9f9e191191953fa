"""Archived teams own no new projects."""

from bulkhead_kit.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(HOLD_TEAM)


def downgrade() -> None:
    run_sql("""
    drop trigger bb_hold_team_anew on issues.projects;
    drop trigger bb_hold_team on issues.projects;
    drop function issues.hold_team();
    """)


# After ba_claim: the tenant's limits are the first lock of whoever takes several.
HOLD_TEAM = """
create function issues.hold_team() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity.hold_team(new.tenant_id, new.owner_team_id);
    return new;
end
$$;
revoke all on function issues.hold_team() from public;
comment on function issues.hold_team() is
'No project comes to an archived team, nor to one that is being archived; those it has it keeps.';
create trigger bb_hold_team before insert on issues.projects
for each row when (new.owner_team_id is not null) execute function issues.hold_team();
create trigger bb_hold_team_anew before update of owner_team_id on issues.projects
for each row when (new.owner_team_id is distinct from old.owner_team_id and new.owner_team_id is not null)
execute function issues.hold_team();
"""
