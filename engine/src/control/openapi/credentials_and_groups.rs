//! Credentials and groups: signing in, and the vendor's operations of groups and credentials.

use axum::http::Method;

use super::operation::{Operation, Parameter, operation, query, tagged};
use super::schema::Shape;
use crate::control::{auth, credentials, groups, sims};

/// Which tag a list is looked through for.
pub(super) const TAGGED: [Parameter; 3] = [
    query("tag_name", Shape::Text, "Those alone that have this tag."),
    query(
        "tag_value",
        Shape::Text,
        "Needed beside tag_name: what the tag says.",
    ),
    query(
        "tag_value_match_mode",
        Shape::OneOf(&["exact", "prefix"]),
        "Whether tag_value is all of it, which it is where nothing is said, or how it begins.",
    ),
];

const GROUP: Shape = Shape::Named("Group");
const CREDENTIAL: Shape = Shape::Named("Credential");

pub(super) fn operations() -> Vec<Operation> {
    let parts = [
        tagged("Auth", signing()),
        tagged("Credential", of_credentials()),
        tagged("Group", of_groups()),
        tagged("Group", within_groups()),
    ];
    parts.into_iter().flatten().collect()
}

fn signing() -> Vec<Operation> {
    vec![
        operation(
            Method::POST,
            "/v1/auth",
            "auth",
            "Sign in, by e-mail and password or by a key",
            auth::sign_in,
        )
        .public()
        .takes(Shape::Named("AuthRequest"))
        .gives(200, Shape::Named("AuthResponse"))
        .or(401)
        .or(429)
        .or(501)
        .or(503),
        operation(
            Method::POST,
            "/v1/auth/logout",
            "logout",
            "Sign out: the key and the token are of no use any more",
            auth::sign_out,
        )
        .gives_nothing(204),
    ]
}

fn of_credentials() -> Vec<Operation> {
    let path = "/v1/credentials/{credentials_id}";
    let body = Shape::Named("CredentialRequest");
    vec![
        operation(
            Method::GET,
            "/v1/credentials",
            "listCredentials",
            "All credentials, without their secrets",
            credentials::list,
        )
        .gives(200, Shape::List(&CREDENTIAL)),
        operation(
            Method::POST,
            path,
            "createCredential",
            "Make a credential",
            credentials::create,
        )
        .takes(body)
        .gives(201, CREDENTIAL)
        .or(409),
        operation(
            Method::PUT,
            path,
            "updateCredential",
            "Replace a credential; a secret that is sent back masked stays as it is",
            credentials::update,
        )
        .takes(body)
        .gives(200, CREDENTIAL),
        operation(
            Method::DELETE,
            path,
            "deleteCredential",
            "Remove a credential that no entry point refers to",
            credentials::delete,
        )
        .gives_nothing(204),
    ]
}

fn of_groups() -> Vec<Operation> {
    let (all, one) = ("/v1/groups", "/v1/groups/{group_id}");
    vec![
        operation(
            Method::GET,
            all,
            "listGroups",
            "Groups, in the order of their ids",
            groups::list,
        )
        .asks(&TAGGED)
        .gives_pages(GROUP),
        operation(
            Method::POST,
            all,
            "createGroup",
            "Make a group",
            groups::create,
        )
        .takes(Shape::Named("GroupRequest"))
        .gives(201, GROUP),
        operation(Method::GET, one, "getGroup", "A group", groups::read).gives(200, GROUP),
        operation(
            Method::DELETE,
            one,
            "deleteGroup",
            "Remove a group; its SIMs are in none then",
            groups::delete,
        )
        .gives_nothing(204),
        operation(
            Method::GET,
            "/v1/groups/{group_id}/subscribers",
            "listSubscribersInGroup",
            "A group's SIMs, in the order of their IMSIs",
            sims::list_group,
        )
        .gives_pages(Shape::Named("Sim")),
    ]
}

fn within_groups() -> Vec<Operation> {
    let namespace = "/v1/groups/{group_id}/configuration/{namespace}";
    vec![
        operation(
            Method::PUT,
            namespace,
            "putConfigurationParameters",
            "Replace values of a namespace; an entry point is replaced as a whole",
            groups::configure,
        )
        .takes(Shape::List(&Shape::Named("Parameter")))
        .gives(200, GROUP),
        operation(
            Method::DELETE,
            namespace,
            "deleteConfigurationNamespace",
            "Remove a namespace of a group",
            groups::delete_namespace,
        )
        .gives_nothing(204),
        operation(
            Method::DELETE,
            "/v1/groups/{group_id}/configuration/{namespace}/{*name}",
            "deleteConfigurationParameter",
            "Remove a value of a namespace",
            groups::delete_parameter,
        )
        .gives_nothing(204),
        operation(
            Method::PUT,
            "/v1/groups/{group_id}/tags",
            "putGroupTags",
            "Put tags on a group; the others stay",
            groups::put_tags,
        )
        .takes(Shape::List(&Shape::Named("Tag")))
        .gives(200, GROUP),
        operation(
            Method::DELETE,
            "/v1/groups/{group_id}/tags/{tag_name}",
            "deleteGroupTag",
            "Take a tag off a group",
            groups::delete_tag,
        )
        .gives_nothing(204),
    ]
}
