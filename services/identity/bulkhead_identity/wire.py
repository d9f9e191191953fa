"""Values that several slices have in their messages."""

from __future__ import annotations

from typing import Final

from bulkhead.identity.v1 import membership_pb2 as member_pb
from bulkhead.identity.v1 import tenant_pb2 as tenant_pb

# By what is stored.
MEMBER_KINDS: Final = {
    "person": member_pb.Member.KIND_PERSON,
    "service": member_pb.Member.KIND_SERVICE_ACCOUNT,
    "placeholder": member_pb.Member.KIND_PLACEHOLDER,
}
MEMBER_STATES: Final = {"active": member_pb.Member.STATE_ACTIVE, "disabled": member_pb.Member.STATE_DISABLED}
TENANT_STATES: Final = {
    "active": tenant_pb.Tenant.STATE_ACTIVE,
    "suspended": tenant_pb.Tenant.STATE_SUSPENDED,
    "deleted": tenant_pb.Tenant.STATE_DELETED,
}
