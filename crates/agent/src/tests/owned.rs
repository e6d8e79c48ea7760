//! A token that somebody lends: used, renewed, followed, and never given back.

use std::fs;

use super::{Agent, CREDS, KV2, OWNED, double, dynamic, kv2};
use credentials::supply::SupplyState;

#[tokio::test]
async fn it_is_renewed_and_stays_when_everything_else_is_given_back() {
    let double = double().await;
    double.state().own(OWNED, 300, 10_000);
    double.state().token_ttl = 300;
    let mut agent = Agent::owned(double, &[kv2(), dynamic()]);
    let supply = agent.step().await;
    assert_eq!(supply.state, SupplyState::Serving, "{supply:?}");
    // Two leases of the person's token go by, and what was replaced is given back without the token.
    agent.run(3_000).await;
    let supply = agent.supply();
    assert_eq!((supply.state, supply.failures), (SupplyState::Serving, 0), "{supply:?}");
    assert!(supply.renewals > 10 && supply.rotations >= 2, "{supply:?}");
    assert!(agent.count(CREDS) >= 3 && agent.double.leases().len() == 1, "{:?}", agent.double.leases());
    agent.supplier.close().await;
    assert_eq!((agent.double.tokens(), agent.double.leases()), (vec![OWNED.to_owned()], vec![]));
    assert_eq!(agent.count("auth/token/revoke-self"), 0);
    assert!(!agent.double.state().seen.iter().any(|path| path.ends_with("/login")));
}

#[tokio::test]
async fn a_refusal_never_takes_it_away() {
    let double = double().await;
    double.state().own(OWNED, 100_000, 100_000);
    double.state().permitted.remove(KV2);
    double.state().tokens.get_mut(OWNED).unwrap().permitted.remove(KV2);
    let mut agent = Agent::owned(double, &[kv2()]);
    let supply = agent.run(600).await;
    assert_eq!((supply.state, supply.reason.as_str()), (SupplyState::Failing, "VaultPermissionMissing"));
    assert_eq!((agent.count("auth/token/revoke-self"), agent.double.tokens().len()), (0, 1));
}

#[tokio::test]
async fn one_that_ends_is_used_to_its_end_and_the_next_one_is_taken_at_once() {
    let double = double().await;
    double.state().own(OWNED, 600, 600);
    let mut agent = Agent::owned(double, &[kv2(), dynamic()]);
    agent.step().await;
    agent.run(590).await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    assert!(agent.count("auth/token/lookup-self") <= 4, "{}", agent.count("auth/token/lookup-self"));
    agent.run(60).await;
    let supply = agent.supply();
    assert_eq!(supply.reason, "VaultLoginFailed", "{supply:?}");
    assert!(supply.message.contains("log in anew"), "{supply:?}");
    agent.double.state().own("planted-next", 600, 600);
    fs::write(agent.identity.path().join("token"), "planted-next").unwrap();
    agent.supplier.look_at_identity();
    agent.step().await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));

    // Another one, while the last is still good.
    agent.double.state().own("planted-third", 600, 600);
    fs::write(agent.identity.path().join("token"), "planted-third").unwrap();
    agent.supplier.look_at_identity();
    agent.run(60).await;
    assert_eq!(agent.said(), (SupplyState::Serving, "Loaded".into()));
    assert_eq!((agent.double.leases().len(), agent.double.tokens().len()), (1, 2), "{:?}", agent.double.leases());
    assert_eq!(agent.count("auth/token/revoke-self"), 0);
}
