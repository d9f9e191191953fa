"""Comments, and the import of all of it."""

from __future__ import annotations

from bulkhead_kit.caller import Role

from tests.isolation.samples.base import Fields, name, rid, sample
from tests.isolation.world import Company, import_of
from tests.support.builders import make_comment


@sample("issues.v1.CommentService/CreateComment")
async def _create_comment(company: Company, _role: Role) -> Fields:
    comment = {"issue_id": company.one("issue"), "body": name(), "visibility": 1}
    return {"comment": comment, "request_id": rid()}


@sample("issues.v1.CommentService/GetComment")
async def _get_comment(company: Company, _role: Role) -> Fields:
    return {"comment_id": company.one("comment")}


@sample("issues.v1.CommentService/ListComments")
async def _list_comments(company: Company, _role: Role) -> Fields:
    return {"issue_id": company.one("issue"), "show_deleted": True}


@sample("issues.v1.CommentService/UpdateComment")
async def _update_comment(company: Company, role: Role) -> Fields:
    comment = {"comment_id": await _new_comment(company, role), "body": name()}
    return {"comment": comment, "request_id": rid()}


@sample("issues.v1.CommentService/DeleteComment")
async def _delete_comment(company: Company, role: Role) -> Fields:
    return {"comment_id": await _new_comment(company, role), "request_id": rid()}


@sample("issues.v1.CommentService/ListCommentRevisions")
async def _revisions(company: Company, _role: Role) -> Fields:
    return {"comment_id": company.one("comment")}


async def _new_comment(company: Company, role: Role) -> str:
    """By the one who is to change it."""
    comment = await make_comment(company.client(role), company.one("issue"), body=name())
    return str(comment.comment_id)


@sample("issues.v1.ImportService/ImportItems")
async def _import_items(company: Company, _role: Role) -> list[Fields]:
    return import_of(company, f"sample:{rid()}", name())
