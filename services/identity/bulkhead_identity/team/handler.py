"""TeamService."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import team_pb2 as team_pb
from bulkhead.identity.v1 import team_service_pb2 as pb
from bulkhead.identity.v1.team_service_pb2_grpc import TeamServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.etags import expected_version
from bulkhead_kit.ids import parse_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_identity.calls import REQUEST_IDS
from bulkhead_identity.team import actions, store, wire

Context = ServicerContext[Any, Any]


class TeamHandler(TeamServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def CreateTeam(self, request: pb.CreateTeamRequest, _context: Context) -> team_pb.Team:
        caller = current_caller()
        new = wire.new_team(request.team)
        return await REQUEST_IDS.once(
            self._database, caller, request, team_pb.Team, lambda tx: actions.create_team(tx, new), wire.team
        )

    async def GetTeam(self, request: pb.GetTeamRequest, _context: Context) -> team_pb.Team:
        row = await store.load(self._database.read(current_caller()), parse_id(request.team_id, "team_id"))
        if row is None:
            raise NotFound("team")
        return wire.team(row)

    async def ListTeams(self, request: pb.ListTeamsRequest, _context: Context) -> pb.ListTeamsResponse:
        caller = current_caller()
        asked = store.FILTERS.parse(request.filter, words={"me": str(caller.user_id)})
        page = page_of(self._page_tokens, caller, request, request.show_archived, request.filter)
        rows = await store.list_teams(
            self._database.read(caller),
            asked,
            show_archived=request.show_archived,
            after=page.after,
            rows=page.size + 1,
        )
        return wire.teams(*cut(rows, page, lambda row: (row.name_key, row.team_id)))

    async def UpdateTeam(self, request: pb.UpdateTeamRequest, _context: Context) -> team_pb.Team:
        caller = current_caller()
        team_id = parse_id(request.team.team_id, "team.team_id")
        values = wire.changes(request)
        version = expected_version(request.team.etag, "team.etag")
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            team_pb.Team,
            lambda tx: actions.update_team(tx, team_id, values, version),
            wire.team,
        )

    async def ArchiveTeam(self, request: pb.ArchiveTeamRequest, _context: Context) -> team_pb.Team:
        caller = current_caller()
        team_id = parse_id(request.team_id, "team_id")
        return await REQUEST_IDS.once(
            self._database, caller, request, team_pb.Team, lambda tx: actions.archive_team(tx, team_id), wire.team
        )

    async def UnarchiveTeam(self, request: pb.UnarchiveTeamRequest, _context: Context) -> team_pb.Team:
        caller = current_caller()
        team_id = parse_id(request.team_id, "team_id")
        return await REQUEST_IDS.once(
            self._database, caller, request, team_pb.Team, lambda tx: actions.unarchive_team(tx, team_id), wire.team
        )

    async def AddTeamMember(self, request: pb.AddTeamMemberRequest, _context: Context) -> team_pb.TeamMember:
        caller = current_caller()
        place = wire.place(request)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            team_pb.TeamMember,
            lambda tx: actions.add_team_member(tx, place),
            wire.team_member,
        )

    async def RemoveTeamMember(self, request: pb.RemoveTeamMemberRequest, _context: Context) -> team_pb.TeamMember:
        caller = current_caller()
        place = wire.place(request)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            team_pb.TeamMember,
            lambda tx: actions.remove_team_member(tx, place),
            wire.team_member,
        )

    async def ListTeamMembers(
        self, request: pb.ListTeamMembersRequest, _context: Context
    ) -> pb.ListTeamMembersResponse:
        caller = current_caller()
        team_id = parse_id(request.team_id, "team_id")
        page = page_of(self._page_tokens, caller, request, str(team_id))
        rows = await store.list_members(self._database.read(caller), team_id, page.after, page.size + 1)
        if rows is None:
            raise NotFound("team")
        return wire.team_members(*cut(rows, page, lambda row: (row.user_id,)))
