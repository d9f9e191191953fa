"""Messages of TeamService."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bulkhead.identity.v1 import team_pb2 as team_pb
from bulkhead.identity.v1 import team_service_pb2 as pb
from bulkhead_kit import texts as kit_texts
from bulkhead_kit.etags import etag
from bulkhead_kit.ids import parse_id
from bulkhead_kit.masks import MutableFields
from bulkhead_kit.wire import timestamp

from bulkhead_identity import texts
from bulkhead_identity.team.rules import NewTeam, Place, TeamMemberRow, TeamRow
from bulkhead_identity.wire import MEMBER_STATES

_MUTABLE = MutableFields(team_pb.Team, ["name", "description"])


def new_team(message: team_pb.Team) -> NewTeam:
    return NewTeam(_name(message), _description(message))


def changes(request: pb.UpdateTeamRequest) -> dict[str, str]:
    """Column values to write."""
    return {path: _READ[path](request.team) for path in _MUTABLE.to_write(request.team, request.update_mask)}


def place(request: pb.AddTeamMemberRequest | pb.RemoveTeamMemberRequest) -> Place:
    is_lead = isinstance(request, pb.AddTeamMemberRequest) and request.is_lead
    return Place(parse_id(request.team_id, "team_id"), parse_id(request.user_id, "user_id"), is_lead)


def team(row: TeamRow) -> team_pb.Team:
    return team_pb.Team(
        team_id=row.team_id,
        name=row.name,
        description=row.description,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        archive_time=timestamp(row.archived_at),
        etag=etag(row.version),
    )


def teams(rows: Iterable[TeamRow], next_page_token: str) -> pb.ListTeamsResponse:
    return pb.ListTeamsResponse(teams=map(team, rows), next_page_token=next_page_token)


def team_member(row: TeamMemberRow) -> team_pb.TeamMember:
    return team_pb.TeamMember(
        team_id=row.team_id,
        user_id=row.user_id,
        is_lead=row.is_lead,
        add_time=timestamp(row.added_at),
        remove_time=timestamp(row.removed_at),
        display_name=row.display_name,
        avatar_url=row.avatar_url or "",
        state=MEMBER_STATES[row.status],
        is_support=row.support_until is not None,
    )


def team_members(rows: Iterable[TeamMemberRow], next_page_token: str) -> pb.ListTeamMembersResponse:
    return pb.ListTeamMembersResponse(members=map(team_member, rows), next_page_token=next_page_token)


def _name(message: team_pb.Team) -> str:
    return texts.name(message.name, "team.name")


def _description(message: team_pb.Team) -> str:
    return kit_texts.optional_prose(message.description, "team.description")


_READ: Mapping[str, Callable[[team_pb.Team], str]] = {"name": _name, "description": _description}
