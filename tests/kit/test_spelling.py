"""Ids in one spelling, by the contracts' own word for what is an id."""

from __future__ import annotations

from bulkhead.audit.v1 import audit_writer_service_pb2 as audit_pb
from bulkhead.issues.v1 import issue_pb2, issue_service_pb2
from bulkhead_kit.spelling import normalise, plan_of

SMALL = "0190163d-8694-739b-aea5-966c26f8ad91"
LARGE = SMALL.upper()


def test_ids_are_brought_into_small_letters_wherever_they_are() -> None:
    request = issue_service_pb2.CreateIssueRequest(
        issue=issue_pb2.Issue(project_id=LARGE, title=LARGE, label_ids=[LARGE, SMALL]), request_id=LARGE
    )
    normalise(request)
    issue = request.issue
    assert (issue.project_id, issue.title, list(issue.label_ids)) == (SMALL, LARGE, [SMALL, SMALL])
    assert request.request_id == SMALL


def test_what_is_not_there_stays_unset() -> None:
    request = issue_service_pb2.GetIssueRequest(key="ACME-1")
    normalise(request)
    assert request.WhichOneof("issue") == "key"
    update = issue_service_pb2.UpdateIssueRequest(request_id=LARGE)
    normalise(update)
    assert not update.HasField("issue")


def test_what_is_no_id_is_left_for_the_rules() -> None:
    for text in ("{" + LARGE + "}", LARGE.replace("-", ""), "A" * 37, "", "É" * 36):
        request = issue_service_pb2.GetIssueRequest(issue_id=text)
        normalise(request)
        assert request.issue_id == (text.lower() if len(text) == 36 else text)


def test_texts_are_brought_into_nfc_wherever_they_are() -> None:
    request = issue_service_pb2.CreateIssueRequest(issue=issue_pb2.Issue(title="Cafe\u0301", description="e\u0301"))
    normalise(request)
    assert (request.issue.title, request.issue.description) == ("Caf\u00e9", "\u00e9")
    lists = issue_service_pb2.ListIssuesRequest(filter='title = "Cafe\u0301"')
    normalise(lists)
    assert lists.filter == 'title = "Caf\u00e9"'


def test_what_something_was_computed_of_is_kept_as_it_comes() -> None:
    changes = '{"name": [null, "Cafe\u0301"]}'
    request = audit_pb.AppendEventsRequest(events=[audit_pb.NewEvent(changes_json=changes, event_id=LARGE)])
    normalise(request)
    assert (request.events[0].changes_json, request.events[0].event_id) == (changes, SMALL)


def test_a_message_without_ids_and_texts_costs_nothing() -> None:
    assert plan_of(audit_pb.AppendEventsResponse.DESCRIPTOR).is_empty
