//! Which paths lead where.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn mounts() -> Mounts {
    let visible: wire::VisibleMounts = serde_json::from_value(json!({"secret": {
        "secret/": {"type": "kv", "options": {"version": "2"}},
        "old/": {"type": "kv", "options": null},
        "team/": {"type": "kv", "options": {"version": "1"}},
        "team/kv/": {"type": "kv", "options": {"version": "2"}},
        "db/": {"type": "database", "options": null},
        "sys/": {"type": "system", "options": null},
    }}))
    .unwrap();
    Mounts::from(visible)
}

#[test]
fn the_longest_mount_is_taken() {
    for (path, mount, api) in [
        ("secret/apps/web", None, "secret/data/apps/web"),
        ("/secret/apps/web/", None, "secret/data/apps/web"),
        ("secret", None, "secret/data"),
        ("old/a", None, "old/a"),
        ("team/a", None, "team/a"),
        ("team/kv/a", None, "team/kv/data/a"),
        ("apps/web", Some("secret/"), "secret/data/apps/web"),
        ("", Some("team/kv"), "team/kv/data"),
        ("secret/a", Some("secret"), "secret/data/secret/a"),
        ("secret/ü b/+*", None, "secret/data/ü b/+*"),
        ("secret/a%2Fb", None, "secret/data/a%2Fb"),
        ("secret/a\\b", None, "secret/data/a\\b"),
        ("secret/ a/b ", None, "secret/data/ a/b "),
        ("secret/50%25", None, "secret/data/50%25"),
    ] {
        let location = locate(&mounts(), path, mount).unwrap();
        assert_eq!(location.api("data").join("/"), api, "{path}");
    }
}

#[test]
fn links_that_people_paste_are_taken() {
    for (link, full, version) in [
        ("https://vault/ui/vault/secrets/secret/kv/apps%2Fweb/details?version=2", "secret/apps/web", Some(2)),
        ("https://vault/ui/vault/secrets/secret/kv/apps%2Fweb", "secret/apps/web", None),
        ("https://vault/x/ui/vault/secrets-engines/secret/kv/apps%2Fweb/metadata/versions", "secret/apps/web", None),
        ("<https://vault:8200/ui/vault/secrets/team%2Fkv/kv/list/a/>", "team/kv/a", None),
        ("https://vault/ui/vault/secrets/secret/kv/list", "secret", None),
        ("https://vault/ui/vault/secrets/secret/show/apps/web", "secret/apps/web", None),
        ("https://vault/ui/vault/secrets/old/list/apps/", "old/apps", None),
        ("https://vault/v1/secret/data/apps/web?version=3", "secret/apps/web", Some(3)),
        ("https://vault/v1/secret/metadata/apps/?list=true", "secret/apps", None),
        ("https://vault/v1/old/data/web", "old/data/web", None),
    ] {
        let location = locate(&mounts(), link, None).unwrap();
        assert_eq!((location.full(), location.linked), (full.to_owned(), version), "{link}");
    }
    for link in [
        "https://vault/ui/vault/access/userpass/item/user",
        "https://vault/ui/",
        "https://vault/ui/vault/secrets/db/show/x",
        "https://vault/ui/vault/secrets/secret/kv/a%2F..%2Fb",
        "https://vault/ui/vault/secrets/none/kv/a",
    ] {
        let error = locate(&mounts(), link, None).unwrap_err();
        assert!(error.argument.is_some() && error.remedy.is_some(), "{link}: {error:?}");
    }
}

#[test]
fn what_leads_astray_is_refused() {
    for (path, mount, code) in [
        ("none/a", None, ErrorCode::NotFound),
        ("secretx/a", None, ErrorCode::NotFound),
        ("", None, ErrorCode::NotFound),
        ("a", Some("none"), ErrorCode::NotFound),
        ("db/creds/app", None, ErrorCode::InvalidArgument),
        ("sys/policies", None, ErrorCode::InvalidArgument),
        ("kv/a", Some("team"), ErrorCode::InvalidArgument),
        ("kv", Some("team"), ErrorCode::InvalidArgument),
        ("secret/a/../b", None, ErrorCode::InvalidArgument),
        ("secret/./b", None, ErrorCode::InvalidArgument),
        ("secret//b", None, ErrorCode::InvalidArgument),
        ("//secret/b", None, ErrorCode::InvalidArgument),
        ("secret/b//", None, ErrorCode::InvalidArgument),
        ("secret/%2e%2E/b", None, ErrorCode::InvalidArgument),
        ("secret/%252e/b", None, ErrorCode::InvalidArgument),
        ("secret/a%2F..%2Fb", None, ErrorCode::InvalidArgument),
        ("secret/a%2F%2Fb", None, ErrorCode::InvalidArgument),
        ("secret/a%2F", None, ErrorCode::InvalidArgument),
        ("secret/..%5Cb", None, ErrorCode::InvalidArgument),
        ("secret/.. /b", None, ErrorCode::InvalidArgument),
        ("secret/a%00b", None, ErrorCode::InvalidArgument),
        ("secret/a%2525252525b", None, ErrorCode::InvalidArgument),
        ("team/kv%2Fa", None, ErrorCode::InvalidArgument),
        ("kv%2Fa", Some("team"), ErrorCode::InvalidArgument),
        ("secret/a\nb", None, ErrorCode::InvalidArgument),
        ("secret/a\u{0}b", None, ErrorCode::InvalidArgument),
        ("secret/ /b", None, ErrorCode::InvalidArgument),
        ("a", Some("secret/../old"), ErrorCode::InvalidArgument),
    ] {
        let error = locate(&mounts(), path, mount).unwrap_err();
        assert_eq!(error.code, code, "{path:?} {mount:?}: {error:?}");
        assert!(error.argument.is_some() && error.remedy.is_some(), "{path:?}: {error:?}");
    }
    assert!(locate(&mounts(), &format!("secret/{}", "a".repeat(1100)), None).is_err());
}

#[test]
fn a_token_that_sees_no_kv_engine_lacks_a_policy() {
    let visible = json!({"secret": {"cubbyhole/": {"type": "cubbyhole", "options": null}}});
    let hidden = Mounts::from(serde_json::from_value::<wire::VisibleMounts>(visible).unwrap());
    for (path, mount) in [("secret/apps", None), ("apps", Some("secret"))] {
        let error = locate(&hidden, path, mount).unwrap_err();
        assert_eq!(error.code, ErrorCode::PermissionDenied, "{error:?}");
        assert!(error.message.contains("\"secret"), "{error:?}");
        let remedy = error.remedy.unwrap();
        // HCP has no engines in the root namespace (hashicorp/vault-secrets-operator#162).
        assert!(remedy.contains("capability list") && remedy.contains("spec.platform.vault.namespace"), "{remedy}");
    }
    // One that sees others may as well have been given a wrong path.
    assert_eq!(locate(&mounts(), "none/a", None).unwrap_err().code, ErrorCode::NotFound);
}

fn patterns(texts: &[&str]) -> Vec<PathPattern> {
    texts.iter().map(|text| PathPattern((*text).into())).collect()
}

#[test]
fn rules_see_the_resolved_path() {
    let paths = VaultPaths {
        allow: Some(patterns(&["secret/apps/**", "team/kv/*"])),
        deny: Some(patterns(&["secret/apps/prod/**"])),
    };
    let release = vec![ReleaseRule { path: PathPattern("secret/apps/*".into()), keys: vec!["url".into()] }];
    let rules = Rules::new(Some(&paths), Some(&release));
    let at = |path, mount| locate(&mounts(), path, mount).unwrap();
    for (path, mount, permitted) in [
        ("secret/apps/web", None, true),
        ("/secret/apps/web/", None, true),
        ("apps/web", Some("secret"), true),
        ("secret/apps/prod/db", None, false),
        ("apps/prod/db", Some("secret"), false),
        ("secret/other", None, false),
        ("team/kv/a", None, true),
        ("team/x", None, false),
        // As a server may take them that decodes once more.
        ("secret/apps/a%2Fb", None, true),
        ("secret/apps/prod%2Fdb", None, false),
        ("secret/apps/prod\\db", None, false),
        ("secret/apps/pr%6fd/db", None, false),
        ("secret/apps/prod /db", None, false),
        ("team/kv/a%2Fb", None, false),
    ] {
        assert_eq!(rules.check(&at(path, mount)).is_ok(), permitted, "{path}");
    }
    assert!(rules.check(&at("secret", None)).is_err());
    for (path, permitted) in [
        ("secret", true),
        ("secret/apps", true),
        ("secret/apps/x/y", true),
        ("secret/apps/prod", false),
        ("secret/apps/prod/x", false),
        ("secret/apps/prod%2Fx", false),
        ("secret/other", false),
        ("team/kv", true),
        ("team/kv/a", false),
        ("old", false),
    ] {
        assert_eq!(rules.check_folder(&at(path, None)).is_ok(), permitted, "{path}");
    }
    assert!(rules.check_release(&at("apps/web", Some("secret")), "url").is_ok());
    for (path, key) in [
        ("secret/apps/web", "URL"),
        ("secret/apps/web", "password"),
        ("secret/apps/a/b", "url"),
        ("secret/apps/a%2Fb", "url"),
    ] {
        let error = rules.check_release(&at(path, None), key).unwrap_err();
        assert!(error.remedy.unwrap().contains("spec.platform.vault.releaseValues"));
    }
    assert!(Rules::default().check_release(&at("secret/apps/web", None), "url").is_err());
    assert!(Rules::default().check(&at("secret/apps/web", None)).is_ok());
}

proptest! {
    /// Whatever is given, the URL that is called stays in the mount that the rules were asked about.
    #[test]
    fn nothing_escapes_the_mount(
        path in "(secret|team|team/kv|old|[a-z]{0,3})(/|//|/\\./|/\\.\\./|%2f|\\\\|/%2e%2e/|\\PC{0,3}|[a-z]{1,3}){0,6}",
        mount in proptest::option::of("(secret|team|team/kv|\\.\\.|[a-z/.]{0,5})"),
    ) {
        if let Ok(location) = locate(&mounts(), &path, mount.as_deref()) {
            prop_assert!(mounts().secret.contains_key(&location.mount));
            let segments = location.api("data");
            let mut url = url::Url::parse("http://vault/v1").unwrap();
            url.path_segments_mut().unwrap().extend(&segments);
            let prefix = match location.version {
                KvVersion::Two => format!("/v1/{}/data", location.mount),
                KvVersion::One => format!("/v1/{}", location.mount),
            };
            prop_assert!(url.path() == prefix || url.path().starts_with(&format!("{prefix}/")), "{}", url.path());
            prop_assert_eq!(url.path_segments().unwrap().count(), segments.len() + 1);
            // As a server would read it: decoded once, the path is that which the rules saw.
            let full = location.full();
            prop_assert!(!full.split('/').any(|segment| segment.is_empty() || segment == "." || segment == ".."));
        }
    }
}
