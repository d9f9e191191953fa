"""Every kind of mail that identity sends."""

from bulkhead_kit.migrations import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql(MAIL_KINDS)


def downgrade() -> None:
    # A mail that the older release has no text for is not sent by it.
    run_sql("""
    delete from identity.mails where kind not in ('verify_email', 'already_registered', 'invitation');
    alter table identity.mails drop constraint mails_kind_check;
    alter table identity.mails add constraint mails_kind_check
    check (kind in ('verify_email', 'already_registered', 'invitation')) not valid;
    alter table identity.mails validate constraint mails_kind_check;
    """)


MAIL_KINDS = """
-- A wider one follows.
-- squawk-ignore ban-drop-constraint
alter table identity.mails drop constraint mails_kind_check;
alter table identity.mails add constraint mails_kind_check check (
    kind in (
        'verify_email', 'already_registered', 'invitation', 'reset_password', 'password_changed', 'new_device',
        'account_closed'
    )
) not valid;
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore constraint-missing-not-valid
alter table identity.mails validate constraint mails_kind_check;
"""
