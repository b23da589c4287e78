//! Who is let in, as whom.

use super::*;
use geophone_proto::Tenant;
use http::{HeaderMap, HeaderValue};

fn token(name: &str, secret: &str, tenant: Option<&str>, may: &[Right]) -> TokenRule {
    let hash = SecretHash::of(secret.as_bytes(), name.as_bytes());
    TokenRule { name: name.into(), hash, tenant: tenant.map(|tenant| Tenant(tenant.into())), may: may.to_vec() }
}

fn access() -> Access {
    Access::new(AccessRules {
        tokens: vec![
            token("shop", "shop-secret-shop-secret", Some("shop"), &[Right::Send]),
            token("gateway", "gateway-secret-gateway", None, &[Right::Send]),
            token("alice", "alice-secret-alice-secret", None, &[Right::Act]),
            token("grafana", "grafana-secret-grafana", None, &[Right::Read]),
        ],
        tenant_header: Some(http::HeaderName::from_static("x-scope-orgid")),
        ..AccessRules::default()
    })
}

fn headers(authorization: &str, tenant: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !authorization.is_empty() {
        headers.insert("authorization", HeaderValue::from_str(authorization).expect("a header"));
    }
    headers.extend(tenant.map(|tenant| (http::HeaderName::from_static("x-scope-orgid"), HeaderValue::from_static(tenant))));
    headers
}

/// `Ok(tenant)`, or the HTTP status of the refusal.
fn sent(access: &Access, authorization: &str, tenant: Option<&'static str>) -> Result<String, u16> {
    match access.identify(&headers(authorization, tenant), Right::Send) {
        Ok(grant) => Ok(grant.tenant.0.to_string()),
        Err(Denied::Unauthenticated(_)) => Err(401),
        Err(Denied::Forbidden(_)) => Err(403),
    }
}

#[test]
fn without_tokens_everybody_is_the_default_tenant() {
    let access = Access::default();
    assert_eq!(sent(&access, "", None), Ok("default".into()));
    assert_eq!(sent(&access, "Bearer whatever", Some("shop")), Ok("default".into()), "the header is not heard");
    assert!(Right::ALL.iter().all(|right| !access.asks_for(*right)));
}

#[test]
fn bearer_and_basic_are_understood_and_nothing_else() {
    let access = access();
    for good in ["Bearer shop-secret-shop-secret", "bearer  shop-secret-shop-secret ", "Basic c2hvcDpzaG9wLXNlY3JldC1zaG9wLXNlY3JldA=="] {
        // Twice: the second time it is remembered.
        assert_eq!([(); 2].map(|()| sent(&access, good, None)), [Ok("shop".into()), Ok("shop".into())], "{good}");
    }
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer shop-secret-shop-secre",
        "Bearer Shop-secret-shop-secret",
        "shop-secret-shop-secret",
        "Digest shop-secret-shop-secret",
        // gateway:shop-secret-shop-secret, then no base64, then no colon.
        "Basic Z2F0ZXdheTpzaG9wLXNlY3JldC1zaG9wLXNlY3JldA==",
        "Basic !",
        "Basic c2hvcA==",
    ] {
        assert_eq!(sent(&access, bad, None), Err(401), "{bad}");
    }
    let mut twice = headers("Bearer shop-secret-shop-secret", None);
    twice.append("authorization", HeaderValue::from_static("Bearer gateway-secret-gateway"));
    assert!(matches!(access.identify(&twice, Right::Send), Err(Denied::Unauthenticated(_))));
}

#[test]
fn a_token_is_for_its_tenant_and_a_gateway_says_which() {
    let (access, shop, gateway) = (access(), "Bearer shop-secret-shop-secret", "Bearer gateway-secret-gateway");
    assert_eq!(sent(&access, shop, Some("shop")), Ok("shop".into()));
    assert_eq!(sent(&access, shop, Some("bank")), Err(403));
    assert_eq!(sent(&access, gateway, Some("bank")), Ok("bank".into()));
    assert_eq!(sent(&access, gateway, None), Ok("default".into()));
    for bad in ["", "a b", "../x", "unknown", ".hidden"] {
        assert_eq!(sent(&access, gateway, Some(bad)), Err(403), "{bad}");
    }
}

#[test]
fn rights_are_apart_but_who_acts_may_read() {
    let access = access();
    let may = |secret: &str| Right::ALL.map(|right| access.identify(&headers(&format!("Bearer {secret}"), None), right).is_ok());
    assert_eq!(may("shop-secret-shop-secret"), [true, false, false]);
    assert_eq!(may("alice-secret-alice-secret"), [false, true, true]);
    assert_eq!(may("grafana-secret-grafana"), [false, true, false]);
}

#[test]
fn new_rules_hold_at_once_and_what_was_counted_stays() {
    let access = access();
    let account = access.account(&Tenant("shop".into())).expect("it is known");
    account.line(Place { signal: None, transport: geophone_proto::Transport::Http }).request();
    assert!(sent(&access, "Bearer shop-secret-shop-secret", None).is_ok());
    access.replace(AccessRules { tokens: vec![token("new", "another-secret-another", None, &[Right::Send])], ..AccessRules::default() });
    assert_eq!(sent(&access, "Bearer shop-secret-shop-secret", None), Err(401), "even though it was remembered");
    assert!(sent(&access, "Bearer another-secret-another", None).is_ok());
    assert_eq!(access.traffic().iter().map(|line| line.counts.requests.received).sum::<u64>(), 1);
}

#[test]
fn there_are_only_so_many_tenants() {
    let access = Access::new(AccessRules { tenants_max: 3, ..AccessRules::default() });
    let made = (0..10).filter(|n| access.account(&Tenant(format!("t{n}").into())).is_ok()).count();
    assert_eq!(made, 3);
    assert!(access.account(&Tenant("t0".into())).is_ok(), "it is there already");
}
