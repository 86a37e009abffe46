//! Who may do what: a table of users and names, compared with an oracle that knows prefixes instead of patterns.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use base::Name;
use broker::Error;
use broker::auth::{
    Answer, Authority, Configure, Login, Pending, Principal, Question, Read, RenewFailure, Secret,
    Write, authorize, authorize_passive, authorize_topic, authorize_vhost,
};
use broker::command::MetadataCommand as Command;
use broker::error::ResourceKind;
use broker::metadata::Metadata;
use broker::vhost_metadata::VhostMetadata;
use std::sync::Arc;

/// What a user may do, as lists of prefixes: the same rights as `PATTERNS` in another form.
struct Rights {
    configure: &'static [&'static str],
    write: &'static [&'static str],
    read: &'static [&'static str],
}

const NOTHING: &[&str] = &[];
const EVERYTHING: &[&str] = &[""];

/// User, the three patterns, and the same as prefixes.
const USERS: [(&str, [&str; 3], Rights); 5] = [
    (
        "admin",
        [".*", ".*", ".*"],
        Rights {
            configure: EVERYTHING,
            write: EVERYTHING,
            read: EVERYTHING,
        },
    ),
    (
        "reader",
        ["", "^$", "^orders"],
        Rights {
            configure: NOTHING,
            write: NOTHING,
            read: &["orders"],
        },
    ),
    (
        "writer",
        ["", "^(amq\\.default|logs)", ""],
        Rights {
            configure: NOTHING,
            write: &["amq.default", "logs"],
            read: NOTHING,
        },
    ),
    (
        "owner",
        ["^orders", "^orders", "^orders"],
        Rights {
            configure: &["orders"],
            write: &["orders"],
            read: &["orders"],
        },
    ),
    (
        "nobody",
        ["", "", ""],
        Rights {
            configure: NOTHING,
            write: NOTHING,
            read: NOTHING,
        },
    ),
];

const NAMES: [(ResourceKind, &str); 7] = [
    (ResourceKind::Queue, "orders"),
    (ResourceKind::Queue, "orders.eu"),
    (ResourceKind::Queue, "my-orders"),
    (ResourceKind::Queue, "logs"),
    (ResourceKind::Exchange, ""),
    (ResourceKind::Exchange, "amq.direct"),
    (ResourceKind::Exchange, "logs"),
];

fn world() -> Metadata {
    let mut metadata = Metadata::new(1);
    let mut apply = |command: Command| _ = metadata.apply(&command).unwrap();
    apply(Command::CreateVhost {
        name: "/".into(),
        metadata: VhostMetadata::default(),
    });
    apply(Command::CreateVhost {
        name: "other".into(),
        metadata: VhostMetadata::default(),
    });
    apply(Command::PutUser {
        name: "stranger".into(),
        password_hash: None,
        tags: vec!["administrator".into()],
    });
    for (user, [configure, write, read], _) in USERS {
        apply(Command::PutUser {
            name: user.into(),
            password_hash: None,
            tags: vec![],
        });
        apply(Command::SetPermissions {
            vhost: "/".into(),
            user: user.into(),
            configure: configure.into(),
            write: write.into(),
            read: read.into(),
        });
    }
    metadata
}

fn holds(prefixes: &[&str], kind: ResourceKind, name: &str) -> bool {
    let shown = if kind == ResourceKind::Exchange && name.is_empty() {
        "amq.default"
    } else {
        name
    };
    prefixes.iter().any(|prefix| shown.starts_with(prefix))
}

#[test]
fn every_user_may_do_what_the_table_says() {
    let metadata = world();
    let vhost: Name = "/".into();
    for (user, _, rights) in &USERS {
        let user: Principal = (*user).into();
        for (kind, name) in NAMES {
            let resource: Name = name.into();
            let allowed = [
                authorize(&metadata, &user, &vhost, Configure, kind, &resource).is_ok(),
                authorize(&metadata, &user, &vhost, Write, kind, &resource).is_ok(),
                authorize(&metadata, &user, &vhost, Read, kind, &resource).is_ok(),
            ];
            let expect = [rights.configure, rights.write, rights.read]
                .map(|prefixes| holds(prefixes, kind, name));
            assert_eq!(allowed, expect, "{user:?} {kind} {name:?}");
            let passive = authorize_passive(&metadata, &user, &vhost, kind, &resource).is_ok();
            assert_eq!(
                passive,
                expect.contains(&true),
                "{user:?} passive {kind} {name:?}"
            );
            assert!(authorize(&metadata, &user, &"other".into(), Read, kind, &resource).is_err());
            assert!(
                authorize(&metadata, &"stranger".into(), &vhost, Read, kind, &resource).is_err()
            );
        }
    }
}

#[test]
fn refusals_have_rabbitmqs_words() {
    let metadata = world();
    let (user, vhost): (Principal, Name) = ("reader".into(), "/".into());
    let refusal = |result: Result<(), Error>| result.unwrap_err().to_string();
    assert_eq!(
        refusal(
            authorize(
                &metadata,
                &user,
                &vhost,
                Write,
                ResourceKind::Exchange,
                &"".into()
            )
            .map(drop)
        ),
        "write access to exchange 'amq.default' in vhost '/' refused for user 'reader'"
    );
    assert_eq!(
        refusal(authorize_passive(
            &metadata,
            &user,
            &vhost,
            ResourceKind::Queue,
            &"q".into()
        )),
        "configure access to queue 'q' in vhost '/' refused for user 'reader'"
    );
    assert_eq!(
        refusal(authorize_vhost(&metadata, &user, &"nope".into())),
        "vhost nope not found"
    );
    assert_eq!(
        refusal(authorize_vhost(&metadata, &user, &"other".into())),
        "access to vhost 'other' refused for user 'reader'"
    );
    assert_eq!(authorize_vhost(&metadata, &"nobody".into(), &vhost), Ok(()));
}

#[test]
fn a_permit_is_for_one_thing_only() {
    let metadata = world();
    let permit = authorize(
        &metadata,
        &"admin".into(),
        &"/".into(),
        Write,
        ResourceKind::Exchange,
        &"logs".into(),
    )
    .unwrap();
    assert!(permit.covers("/", ResourceKind::Exchange, "logs"));
    assert!(!permit.covers("/", ResourceKind::Queue, "logs"));
    assert!(!permit.covers("other", ResourceKind::Exchange, "logs"));
    assert!(!permit.covers("/", ResourceKind::Exchange, "logs2"));
}

#[test]
fn topic_permissions_restrict_only_the_exchange_they_name() {
    let mut metadata = world();
    let user: Principal = "owner".into();
    metadata
        .apply(&Command::SetTopicPermissions {
            vhost: "/".into(),
            user: user.name().clone(),
            exchange: "amq.topic".into(),
            write: r"^{username}\.".into(),
            read: ".*".into(),
        })
        .unwrap();
    let write = |exchange: &str, key: &str| {
        authorize_topic(
            &metadata,
            &user,
            &"/".into(),
            Write,
            &exchange.into(),
            key.as_bytes(),
            None,
        )
    };
    assert_eq!(write("amq.topic", "owner.x"), Ok(()));
    assert_eq!(write("other", "x.y"), Ok(()));
    assert_eq!(
        write("amq.topic", "x.y").unwrap_err().to_string(),
        "write access to topic 'x.y' in exchange 'amq.topic' in vhost '/' refused for user 'owner'"
    );
    assert_eq!(
        authorize_topic(
            &metadata,
            &user,
            &"/".into(),
            Read,
            &"amq.topic".into(),
            b"x.y",
            None
        ),
        Ok(())
    );
}

/// Knows what it was told, and nothing else.
#[derive(Debug)]
struct Told(Option<Answer>);

impl Authority for Told {
    fn decide(&self, _question: &Question) -> Option<Answer> {
        self.0.clone()
    }

    fn ask(self: Arc<Self>, _metadata: Arc<Metadata>, _question: Question) -> Pending<Answer> {
        Box::pin(std::future::ready(Answer::Allowed))
    }

    fn ask_again(
        self: Arc<Self>,
        _metadata: Arc<Metadata>,
        _question: Question,
    ) -> Pending<Option<Answer>> {
        Box::pin(std::future::ready(Some(Answer::Allowed)))
    }

    fn identity(&self) -> Arc<str> {
        "reader".into()
    }

    fn renew(self: Arc<Self>, _secret: Secret) -> Pending<Result<Login, RenewFailure>> {
        Box::pin(std::future::ready(Err(RenewFailure::Refused("no".into()))))
    }
}

fn login(told: Option<Answer>, in_metadata: bool) -> Principal {
    Principal::from(Login {
        tags: vec!["impersonator".into()],
        in_metadata,
        authority: Some(Arc::new(Told(told))),
        ..Login::internal("reader".into())
    })
}

#[test]
fn another_authority_decides_for_its_users() {
    let metadata = world();
    let may_write = |user: &Principal| {
        authorize(
            &metadata,
            user,
            &"/".into(),
            Write,
            ResourceKind::Queue,
            &"q".into(),
        )
        .map(drop)
    };
    assert_eq!(may_write(&login(Some(Answer::Allowed), false)), Ok(()));
    // Both have to agree.
    let both = may_write(&login(Some(Answer::Allowed), true));
    assert!(matches!(both, Err(Error::AccessRefused { .. })));
    let note = " by backend x: because".into();
    let refused = may_write(&login(Some(Answer::Refused { note }), false));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "write access to queue 'q' in vhost '/' refused for user 'reader' by backend x: because"
    );
    let nobody = Principal::from(Login {
        in_metadata: false,
        ..Login::internal("admin".into())
    });
    assert!(may_write(&nobody).is_err());
    assert!(login(None, false).has_tag(&metadata, "impersonator"));
    assert!(!nobody.has_tag(&metadata, "administrator"));
}

#[test]
fn what_is_not_known_is_a_question_until_it_is_learnt() {
    let metadata = world();
    let vhost: Name = "/".into();
    let mut user = login(None, false);
    let Err(Error::Unanswered(question)) = authorize_vhost(&metadata, &user, &vhost) else {
        panic!("it cannot be known");
    };
    user.learn((*question).clone(), Answer::Allowed);
    assert_eq!(authorize_vhost(&metadata, &user, &vhost), Ok(()));
    user.forget_refusals();
    assert_eq!(authorize_vhost(&metadata, &user, &vhost), Ok(()));
    user.learn(*question, Answer::from_bool(false));
    assert!(matches!(
        authorize_vhost(&metadata, &user, &vhost),
        Err(Error::VhostAccessRefused { .. })
    ));
    user.forget_refusals();
    assert!(matches!(
        authorize_vhost(&metadata, &user, &vhost),
        Err(Error::Unanswered(_))
    ));
}
