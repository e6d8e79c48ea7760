//! Changes: what is told as made is what was made, whatever Vault answers with 204.

use serde_json::{Value, json};

use super::{
    Double, TOKEN, connect,
    double::{
        END,
        Version::{Deleted, Destroyed, Pruned, Readable},
    },
};
use platform_testing::Connected;
use tools::ErrorCode::{self, Conflict, NotFound, OutcomeUnread};

/// Longer than the list of mounts is believed when something isn't there, and shorter than otherwise.
async fn later() {
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    tokio::time::resume();
}

async fn started() -> (Double, Connected) {
    let double = Double::start().await;
    let connector = connect(&double.uri(), Some(TOKEN), &json!({}));
    (double, connector)
}

#[tokio::test]
async fn what_was_not_there_is_not_told_as_changed() {
    let (double, connector) = started().await;
    double.set_versions("apps/web", &[Destroyed, Deleted, Readable]);
    let destroy =
        |versions: &[u64]| json!({ "path": "secret/apps/web", "versions": versions, "expected_current_version": 3 });
    let of = |path: &str, versions: &[u64]| json!({ "path": path, "versions": versions });
    let refused: &[(&str, Value, ErrorCode)] = &[
        ("delete_vault_secret", json!({ "path": "secret/apps/wbe" }), NotFound),
        ("delete_vault_secret", json!({ "path": "old/apps/wbe" }), NotFound),
        ("delete_vault_secret", of("secret/apps/web", &[99]), NotFound),
        ("delete_vault_secret", of("secret/apps/web", &[1]), Conflict),
        ("undelete_vault_secret", of("secret/apps/wbe", &[1]), NotFound),
        ("undelete_vault_secret", of("secret/apps/web", &[99]), NotFound),
        ("undelete_vault_secret", of("secret/apps/web", &[1]), Conflict),
        ("destroy_vault_secret", destroy(&[99]), NotFound),
    ];
    for (tool, arguments, code) in refused {
        let error = connector.call(tool, arguments.clone()).await.unwrap_err();
        assert_eq!(error.code, *code, "{tool} {arguments}: {error:?}");
        assert!(error.message.contains("nothing was changed"), "{error:?}");
        // The preview says the same.
        assert_eq!(connector.preview(tool, arguments.clone()).await.unwrap_err().code, *code, "{tool} {arguments}");
    }
    assert_eq!(double.versions("apps/web"), [Destroyed, Deleted, Readable]);
    assert_eq!(double.count("secret/delete/apps/web"), 0);

    let done = connector.call("delete_vault_secret", of("secret/apps/web", &[1, 2, 3, 99])).await.unwrap();
    assert_eq!((&done["outcome"], &done["versions"]), (&json!("deleted"), &json!([3])));
    let stays = json!([{ "version": 1, "state": "destroyed" }, { "version": 2, "state": "deleted" },
                       { "version": 99, "state": "does not exist" }]);
    assert_eq!(done["unchanged"], stays);
    let again = connector.call("delete_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap();
    assert_eq!((&again["outcome"], again.get("versions")), (&json!("unchanged"), None));
    let preview = connector.preview("delete_vault_secret", json!({ "path": "secret/apps/web" })).await.unwrap();
    assert!(preview.would.starts_with("change nothing"), "{preview:?}");
    let done = connector.call("undelete_vault_secret", of("secret/apps/web", &[2, 3])).await.unwrap();
    assert_eq!((&done["outcome"], &done["versions"]), (&json!("restored"), &json!([2, 3])));
    let done = connector.call("destroy_vault_secret", destroy(&[2])).await.unwrap();
    assert_eq!((&done["outcome"], &done["reversible"]), (&json!("destroyed"), &json!(false)));
    assert_eq!(double.versions("apps/web"), [Destroyed, Destroyed, Readable]);
}

/// Another version may be the newest by the time that a deletion arrives, or be there without being shown yet.
#[tokio::test]
async fn what_was_deleted_is_looked_at_afterwards() {
    let delete = json!({ "path": "secret/apps/web" });
    for (late, outcome, versions) in [(0, "deleted", Some(2)), (1, "deleted", Some(2)), (9, "unknown", None)] {
        let (double, connector) = started().await;
        double.set_versions("apps/web", &[Readable, Readable]);
        double.be_late(late);
        let done = connector.call("delete_vault_secret", delete.clone()).await.unwrap();
        assert_eq!(double.versions("apps/web"), [Readable, Deleted]);
        let versions = versions.map(|version: u64| json!([version]));
        assert_eq!((&done["outcome"], done.get("versions")), (&json!(outcome), versions.as_ref()), "{late}: {done}");
        assert_eq!(done.to_string().contains("does not show as deleted"), late == 9, "{done}");
    }
}

/// A path as the API has it, of what isn't there (mitodl/ol-infrastructure#4575).
#[tokio::test]
async fn a_secret_is_not_made_below_data_by_mistake() {
    let (double, connector) = started().await;
    let write = |more: Value| {
        let mut write = json!({ "path": "secret/data/apps/new", "data": { "k": "v" } });
        write.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        write
    };
    for more in [json!({}), json!({ "cas": 0 })] {
        for error in [
            connector.preview("write_vault_secret", write(more.clone())).await.unwrap_err(),
            connector.call("write_vault_secret", write(more)).await.unwrap_err(),
        ] {
            assert_eq!(error.code, ErrorCode::InvalidArgument, "{error:?}");
            assert!(
                error.remedy.as_ref().unwrap().contains("leave data/ out of the path: secret/apps/new"),
                "{error:?}"
            );
        }
    }
    assert_eq!(double.kept("data/data/apps/new"), None);
    let gone = connector.call("delete_vault_secret", json!({ "path": "secret/data/apps/new" })).await.unwrap_err();
    assert!(gone.remedy.unwrap().contains("leave data/ out"));
    connector.call("write_vault_secret", write(json!({ "mount": "secret", "path": "data/apps/new" }))).await.unwrap();
    assert!(double.kept("data/data/apps/new").is_some());
    // It is there now, and an engine of version 1 has no such parts.
    connector.call("write_vault_secret", write(json!({}))).await.unwrap();
    connector.call("write_vault_secret", write(json!({ "path": "old/data/new", "patch": false }))).await.unwrap();
    // No path of the API ends there.
    connector.call("write_vault_secret", write(json!({ "path": "secret/data" }))).await.unwrap();
    assert!(double.kept("data/data").is_some());
}

/// A policy that lets a token change versions and not read their metadata.
#[tokio::test]
async fn what_cannot_be_seen_is_told_as_unknown() {
    let (double, connector) = started().await;
    double.want("secret/metadata/apps/web", 403, None);
    let delete = json!({ "path": "secret/apps/web" });
    // The names of the keys tell as much of one version.
    let done = connector.call("delete_vault_secret", delete.clone()).await.unwrap();
    assert_eq!((&done["outcome"], &done["versions"]), (&json!("deleted"), &json!([1])));
    double.want("secret/subkeys/apps/web", 403, None);
    double.set_versions("apps/web", &[Readable]);
    let done = connector.call("delete_vault_secret", delete).await.unwrap();
    assert_eq!((&done["outcome"], &done["versions"]), (&json!("deleted"), &json!([1])));
    double.want("secret/data/apps/web", 403, None);
    let done =
        connector.call("undelete_vault_secret", json!({ "path": "secret/apps/web", "versions": [1] })).await.unwrap();
    assert_eq!(done["outcome"], "unknown");
    assert!(done["hints"][0].as_str().unwrap().contains("read on secret/metadata/apps/web"), "{done}");
    assert_eq!(double.versions("apps/web"), [Readable]);
    double.want("old/x", 403, None);
    assert_eq!(
        connector.call("delete_vault_secret", json!({ "path": "old/x" })).await.unwrap_err().code,
        ErrorCode::PermissionDenied
    );
}

/// The engine is made anew with the other version, while its list is believed.
#[tokio::test]
async fn an_engine_that_is_made_anew_is_noticed() {
    let (double, connector) = started().await;
    let read = || connector.call("read_vault_secret", json!({ "path": "secret/apps/web" }));
    assert_eq!(read().await.unwrap()["kv_version"], 2);
    double.remount(1);
    later().await;
    let write = |patch: bool| json!({ "path": "secret/apps/web", "data": { "k": "planted" }, "patch": patch });
    // Patching is refused, as the engine's version is known by now; nothing lands at data/apps/web.
    assert_eq!(connector.call("write_vault_secret", write(true)).await.unwrap_err().argument.as_deref(), Some("patch"));
    connector.call("write_vault_secret", write(false)).await.unwrap();
    assert_eq!((double.kept("data/apps/web"), double.kept("apps/web")), (None, Some(json!({ "k": "planted" }))));
    assert_eq!(read().await.unwrap()["kv_version"], 1);
    let list = connector.call("list_vault_secrets", json!({ "path": "secret/apps" })).await.unwrap();
    assert_eq!(list["items"], json!(["web"]));

    double.remount(2);
    later().await;
    let read = read().await.unwrap();
    assert_eq!((&read["kv_version"], &read["keys"]), (&json!(2), &json!(["a"])));
    double.remount(1);
    later().await;
    connector.call("list_vault_mounts", json!({})).await.unwrap();
    double.remount(2);
    later().await;
    let list = connector.call("list_vault_secrets", json!({ "path": "secret/apps" })).await.unwrap();
    assert_eq!(list["items"], json!(["web"]));
    let known = connector.call("get_vault_secret_metadata", json!({ "path": "secret/apps/web" })).await.unwrap();
    assert_eq!(known["current_version"], 1);
}

/// Between the look at the mounts and the write.
#[tokio::test]
async fn a_write_that_is_answered_as_by_another_engine_is_not_told_as_made() {
    let (double, connector) = started().await;
    double.want("secret/data/apps/new", 204, Some(json!("")));
    let write = json!({ "path": "secret/apps/new", "data": { "k": "v" }, "patch": false });
    assert_eq!(connector.call("write_vault_secret", write).await.unwrap_err().code, OutcomeUnread);
    double.want("old/new", 200, Some(json!({ "request_id": "r", "data": { "version": 3, "created_time": "t" } })));
    let write = json!({ "path": "old/new", "data": { "k": "v" }, "patch": false });
    assert_eq!(connector.call("write_vault_secret", write).await.unwrap_err().code, OutcomeUnread);
}

#[tokio::test]
async fn a_patch_over_a_deleted_version_is_told_as_what_it_is() {
    let (double, connector) = started().await;
    let write = json!({ "path": "secret/apps/web", "data": { "k": "v" } });
    let preview = connector.preview("write_vault_secret", write.clone()).await.unwrap();
    assert_eq!(preview.would, "write the keys k at secret/apps/web");
    double.set_versions("apps/web", &[Readable, Deleted]);
    let preview = connector.preview("write_vault_secret", write).await.unwrap();
    assert!(
        preview.would.contains("the newest version, 2, is deleted or destroyed, so none of its keys stay"),
        "{preview:?}"
    );
}

/// Names that Vault keeps and lists (hashicorp/vault#31669, #14990, #30769).
#[tokio::test]
async fn what_is_listed_can_be_read() {
    let (double, connector) = started().await;
    let names = ["a%2Fb", "web ", " lead", "DOM\\svc", "100%", "50%25", "ünï-日本", "q?x", "h#x", "..."];
    for name in names {
        let mut url = url::Url::parse("http://vault/").unwrap();
        url.path_segments_mut().unwrap().push(name);
        double.set_versions(&format!("n/{}", &url.path()[1..]), &[Readable]);
        let read = connector.call("read_vault_secret", json!({ "path": format!("secret/n/{name}") })).await;
        assert_eq!(read.unwrap()["keys"], json!(["a"]), "{name}");
    }
    // One that leads elsewhere on a server that decodes once more is shown, and said not to be taken.
    double.want("secret/metadata/m", 200, Some(json!({ "request_id": "r", "data": { "keys": ["a", "%2e%2e"] } })));
    let list = connector.call("list_vault_secrets", json!({ "path": "secret/m" })).await.unwrap();
    assert_eq!(list["items"], json!(["%2e%2e", "a"]));
    assert!(list["hints"][0].as_str().unwrap().contains("\"%2e%2e\""), "{list}");
}

#[tokio::test]
async fn a_folder_that_fails_is_told_and_hides_no_other() {
    let (double, connector) = started().await;
    let keys = |names: &[&str]| Some(json!({ "request_id": "r", "data": { "keys": names } }));
    double.want("secret/metadata/m", 200, keys(&["bad/", "closed/", "good/"]));
    double.want("secret/metadata/m/good", 200, keys(&["x"]));
    double.want("secret/metadata/m/bad", 500, Some(json!({ "errors": ["planted"] })));
    double.want("secret/metadata/m/closed", 403, None);
    let list = connector.call("list_vault_secrets", json!({ "path": "secret/m", "depth": 2 })).await.unwrap();
    assert_eq!(list["items"], json!(["bad/", "closed/", "good/", "good/x"]));
    assert!(
        list["hints"].to_string().contains("failed to list 1 of the folders, and what is in them is left out: bad/")
    );
    assert!(list["hints"].to_string().contains("to list 1 of the folders, and what is in them is left out: closed/"));
}

/// Clients met 405 at servers before 1.9 (hashicorp/vault#13502); before 1.10 there is no `subkeys` either.
#[tokio::test]
async fn an_older_vault_tells_keys_and_takes_no_patch() {
    let (double, connector) = started().await;
    double.age();
    let path = json!({ "path": "secret/apps/web" });
    let read = connector.call("read_vault_secret", path.clone()).await.unwrap();
    assert_eq!(read["keys"], json!(["a"]));
    assert!(read["hints"][0].as_str().unwrap().contains("came with 1.10"), "{read}");
    let keys = connector.call("get_vault_secret_keys", path.clone()).await.unwrap();
    assert_eq!(keys["keys"], json!({ "a": null }));
    let write = |patch: bool| json!({ "path": "secret/apps/web", "data": { "b": "v" }, "patch": patch });
    let preview = connector.preview("write_vault_secret", write(false)).await.unwrap();
    assert!(preview.would.contains("only in older versions from then on: a"), "{preview:?}");
    let error = connector.call("write_vault_secret", write(true)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains("takes no patch of a secret"), "{error:?}");
    assert_eq!(double.versions("apps/web"), [Readable]);
    connector.call("write_vault_secret", write(false)).await.unwrap();
    assert_eq!(double.versions("apps/web"), [Readable, Readable]);
    // Where the metadata can't be seen, a version is looked at by reading it.
    double.want("secret/metadata/apps/web", 403, None);
    let deleted = connector.call("delete_vault_secret", path).await.unwrap();
    assert_eq!((&deleted["outcome"], &deleted["versions"]), (&json!("deleted"), &json!([2])));
}

/// A policy of OpenBao cuts lists without a word (openbao/openbao#3517).
#[tokio::test]
async fn a_list_that_comes_in_pages_is_read_to_its_end() {
    let (double, connector) = started().await;
    let names: Vec<String> = (0..25).map(|number| format!("n{number:02}")).collect();
    for name in &names {
        double.set_versions(&format!("many/{name}"), &[Readable]);
    }
    let list = |path: &'static str| connector.call("list_vault_secrets", json!({ "path": path }));
    double.list_in_pages_of(10);
    let all = list("secret/many").await.unwrap();
    assert_eq!((&all["items"], all.get("hints")), (&json!(names), None));
    assert_eq!(double.count("secret/metadata/many"), 4);
    // As far as one call goes.
    for number in 0..60 {
        double.set_versions(&format!("more/{number:02}"), &[Readable]);
    }
    double.list_in_pages_of(1);
    let cut = list("secret/more").await.unwrap();
    assert_eq!(cut["items"].as_array().unwrap().len(), 50);
    assert!(cut["hints"][0].as_str().unwrap().contains("there may be more"), "{cut}");
}

/// Vault takes no notice of where a list shall go on, and is asked once.
#[tokio::test]
async fn a_list_that_comes_whole_is_asked_for_once() {
    let (double, connector) = started().await;
    let list = || connector.call("list_vault_secrets", json!({ "path": "secret/apps" }));
    for requests in [2, 3, 4] {
        assert_eq!(list().await.unwrap()["items"], json!(["web"]));
        assert_eq!(double.count("secret/metadata/apps"), requests);
    }
}

#[tokio::test]
async fn roles_are_looked_for_where_each_kind_keeps_them() {
    let (double, connector) = started().await;
    let keys = |names: &[&str]| Some(json!({ "request_id": "r", "data": { "keys": names } }));
    double.want(
        "sys/internal/ui/mounts",
        200,
        Some(json!({ "request_id": "r", "data": {
            "secret": { "db/": { "type": "database", "options": null }, "transit/": { "type": "transit" },
                        "dir/": { "type": "ldap", "options": null }, "tfc/": { "type": "terraform", "options": null },
                        "identity/": { "type": "ns_identity" }, "jfrog/": { "type": "artifactory" } },
            "auth": { "userpass/": { "type": "userpass", "options": null }, "ldap/": { "type": "ldap", "options": null },
                      "token/": { "type": "ns_token" } },
        } })),
    );
    let roles = |mount: &str| connector.call("list_vault_roles", json!({ "mount": mount }));
    double.want("auth/userpass/users", 200, keys(&["bob"]));
    assert_eq!(roles("auth/userpass").await.unwrap()["items"], json!(["bob"]));
    double.want("auth/ldap/users", 404, Some(json!({ "errors": [] })));
    double.want("auth/ldap/groups", 200, keys(&["dev"]));
    assert_eq!(roles("auth/ldap").await.unwrap()["items"], json!(["groups/dev"]));
    double.want("db/roles", 200, keys(&["app"]));
    double.want("db/static-roles", 200, keys(&["billing"]));
    assert_eq!(roles("db").await.unwrap()["items"], json!(["app", "static-roles/billing"]));
    double.want("db/static-roles", 403, None);
    let some = roles("db").await.unwrap();
    assert_eq!(some["items"], json!(["app"]));
    assert!(some["hints"][0].as_str().unwrap().contains("the capability list on db/static-roles"), "{some}");
    double.want("db/roles", 404, Some(json!({ "errors": [] })));
    let none = roles("db").await.unwrap();
    assert!(none["hints"].to_string().contains("nothing is listed at db/roles\""), "{none}");
    assert_eq!(roles("transit").await.unwrap_err().code, ErrorCode::InvalidArgument);
    // `Pattern` in `path_roles.go` of hashicorp/vault-plugin-secrets-terraform.
    double.want("tfc/roles", 404, Some(json!({ "errors": ["1 error occurred:\n\t* unsupported path\n\n"] })));
    double.want("tfc/role", 200, keys(&["ci"]));
    assert_eq!(roles("tfc").await.unwrap()["items"], json!(["ci"]));
    double.want("identity/oidc/role", 200, keys(&["ci"]));
    assert_eq!(roles("identity").await.unwrap()["items"], json!(["ci"]));
    double.want("auth/token/roles", 200, keys(&["ci"]));
    assert_eq!(roles("auth/token").await.unwrap()["items"], json!(["ci"]));
    // A plugin of somebody else.
    let unsupported = Some(json!({ "errors": ["1 error occurred:\n\t* unsupported path\n\n"] }));
    double.want("jfrog/roles", 404, unsupported.clone());
    double.want("jfrog/role", 200, keys(&["ci"]));
    assert_eq!(roles("jfrog").await.unwrap()["items"], json!(["role/ci"]));
    double.want("jfrog/roles", 403, None);
    let some = roles("jfrog").await.unwrap();
    assert_eq!(some["items"], json!(["role/ci"]));
    assert!(some["hints"][0].as_str().unwrap().contains("the capability list on jfrog/roles"), "{some}");
    double.want("jfrog/role", 403, None);
    assert_eq!(roles("jfrog").await.unwrap_err().code, ErrorCode::PermissionDenied);
    double.want("jfrog/roles", 404, unsupported.clone());
    double.want("jfrog/role", 404, unsupported);
    assert!(
        roles("jfrog").await.unwrap()["hints"].to_string().contains("nothing is listed at jfrog/roles, jfrog/role")
    );
    // Folders of roles (`path_dynamic_roles.go` of hashicorp/vault-plugin-secrets-openldap).
    double.want("dir/role", 200, keys(&["admin/", "mine"]));
    double.want("dir/role/admin", 200, keys(&["nested/", "one"]));
    double.want("dir/role/admin/nested", 200, keys(&["two"]));
    double.want("dir/static-role", 404, Some(json!({ "errors": [] })));
    let all = roles("dir").await.unwrap();
    assert_eq!((&all["items"], all.get("hints")), (&json!(["admin/nested/two", "admin/one", "mine"]), None));
    double.want("dir/role/admin/nested", 403, None);
    let some = roles("dir").await.unwrap();
    assert_eq!(some["items"], json!(["admin/nested/", "admin/one", "mine"]));
    assert!(some["hints"][0].as_str().unwrap().contains("were not looked into"), "{some}");
    // So many in a call, whatever they are of.
    let many: Vec<String> = (0..15).map(|number| format!("f{number}/")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for kind in ["role", "static-role"] {
        double.want(&format!("dir/{kind}"), 200, keys(&many));
        for folder in &many {
            double.want(&format!("dir/{kind}/{}", folder.trim_end_matches('/')), 200, keys(&["one"]));
        }
    }
    let all = roles("dir").await.unwrap();
    let unread = |item: &&Value| item.as_str().unwrap().ends_with('/');
    assert_eq!(all["items"].as_array().unwrap().iter().filter(unread).count(), 10, "{all}");
    // Of what the token doesn't see, the kind isn't known.
    double.want("auth/hidden/role", 404, Some(json!({ "errors": ["no handler for route \"auth/hidden/role\"."] })));
    let error = roles("auth/hidden").await.unwrap_err();
    assert!(error.code == NotFound && error.message.contains("or it calls its roles otherwise"), "{error:?}");
}

#[tokio::test]
async fn a_link_is_read_and_one_to_a_version_changes_nothing() {
    let (double, connector) = started().await;
    double.set_versions("apps/web", &[Readable, Readable]);
    let link = "https://vault.example.com/ui/vault/secrets/secret/kv/apps%2Fweb/details";
    let read = async |link: &str| connector.call("read_vault_secret", json!({ "path": link })).await;
    assert_eq!(read(link).await.unwrap()["version"], 2);
    assert_eq!(read(&format!("{link}?version=1")).await.unwrap()["version"], 1);
    let other = read(&format!("{link}?namespace=admin%2Fteam")).await.unwrap_err();
    assert!(other.message.contains("another namespace"), "{other:?}");
    let delete = async |link: &str| connector.call("delete_vault_secret", json!({ "path": link })).await;
    let refused = delete(&format!("{link}?version=1")).await.unwrap_err();
    assert!(refused.remedy.unwrap().contains("secret/apps/web"));
    assert_eq!(double.versions("apps/web"), [Readable, Readable]);
    assert_eq!(delete(link).await.unwrap()["versions"], json!([2]));
}

/// As Vault's pages show the path of a secret in the API (hashicorp/vault#31660).
#[tokio::test]
async fn a_path_of_the_api_is_read() {
    let (double, connector) = started().await;
    let read = async |path: &str| connector.call("read_vault_secret", json!({ "path": path })).await;
    let told = read("/v1/secret/data/apps/web").await.unwrap();
    assert_eq!((&told["path"], &told["keys"]), (&json!("apps/web"), &json!(["a"])));
    assert_eq!(read("v1/secret/data/apps/web").await.unwrap_err().code, NotFound);
    let list = connector.call("list_vault_secrets", json!({ "path": "/v1/secret/metadata/apps" })).await.unwrap();
    assert_eq!(list["items"], json!(["web"]));
    let write = json!({ "path": "/v1/secret/data/apps/new", "data": { "k": "v" } });
    assert_eq!(connector.call("write_vault_secret", write).await.unwrap()["path"], "apps/new");
    let asked = json!({ "paths": ["/v1/secret/data/apps/web", "v1/x"] });
    let told = connector.call("check_vault_capabilities", asked).await.unwrap();
    assert_eq!(
        (&told["paths"][0]["path"], &told["paths"][1]["path"]),
        (&json!("secret/data/apps/web"), &json!("v1/x"))
    );
    // An engine may lie there.
    let mounts = json!({ "secret": { "v1/": { "type": "kv", "options": null } }, "auth": {} });
    double.want("sys/internal/ui/mounts", 200, Some(json!({ "request_id": "r", "data": mounts })));
    double.want("v1/data/x", 200, Some(json!({ "request_id": "r", "data": { "k": "planted" } })));
    let connector = connect(&double.uri(), Some(TOKEN), &json!({}));
    let read = connector.call("read_vault_secret", json!({ "path": "/v1/data/x" })).await.unwrap();
    assert_eq!((&read["mount"], &read["path"]), (&json!("v1"), &json!("data/x")));
    let told = connector.call("check_vault_capabilities", json!({ "paths": ["/v1/data/x"] })).await.unwrap();
    assert_eq!(told["paths"][0]["path"], "v1/data/x");
}

/// Old versions that a write throws away (hashicorp/vault#5907, #17112), and versions that end by themselves (#7644).
#[tokio::test]
async fn what_vault_does_with_versions_by_itself_is_told_before() {
    let would = async |connector: &Connected, patch: bool| {
        let write = json!({ "path": "secret/apps/web", "data": { "k": "v" }, "patch": patch });
        connector.preview("write_vault_secret", write).await.unwrap().would
    };
    for (secret, mount) in [(1, 0), (0, 1)] {
        let (double, connector) = started().await;
        double.keep_versions(secret, mount, false);
        let told = would(&connector, false).await;
        assert!(told.contains("; lost for good: a; lost for good, as Vault keeps 1: versions up to 1"), "{told}");
        assert!(would(&connector, true).await.contains("lost for good"));
        let write = json!({ "path": "secret/apps/web", "data": { "k": "v" } });
        connector.call("write_vault_secret", write).await.unwrap();
        assert_eq!(double.versions("apps/web"), [Pruned, Readable]);
    }
    let (double, connector) = started().await;
    double.keep_versions(1, 2, false);
    let told = would(&connector, false).await;
    assert_eq!(told, "replace the secret by the keys k at secret/apps/web; only in older versions from then on: a");
    // What is set at the mount is not seen by everybody.
    double.want("secret/config", 403, None);
    let told = would(&connector, false).await;
    assert!(told.contains("if Vault keeps any: a; versions up to 1 may be lost for good"), "{told}");
    assert!(told.contains("for which a policy must permit read on the config of the mount"), "{told}");
    // What fails for another reason is no policy's fault.
    double.want("secret/config", 500, None);
    let told = would(&connector, false).await;
    assert!(told.contains("could not be read now: Vault failed to read secret/config (status 500)"), "{told}");
    assert!(!told.contains("policy"), "{told}");
    double.keep_versions(2, 0, false);
    assert!(!would(&connector, false).await.contains("lost for good"));

    let (double, connector) = started().await;
    double.keep_versions(0, 0, true);
    let told = would(&connector, true).await;
    assert!(told.ends_with("; Vault deletes the new version by itself after 720h0m0s"), "{told}");
    let write = json!({ "path": "secret/apps/web", "data": { "k": "v" } });
    assert_eq!(connector.call("write_vault_secret", write).await.unwrap()["ends_at"], END);
    for tool in ["read_vault_secret", "get_vault_secret_keys"] {
        assert_eq!(connector.call(tool, json!({ "path": "secret/apps/web" })).await.unwrap()["ends_at"], END);
    }
    double.set_versions("apps/web", &[Deleted]);
    let undelete = json!({ "path": "secret/apps/web", "versions": [1] });
    let told = connector.preview("undelete_vault_secret", undelete.clone()).await.unwrap().would;
    assert!(told.contains("deletes it again by itself after 720h0m0s"), "{told}");
    let done = connector.call("undelete_vault_secret", undelete).await.unwrap();
    assert!(done["hints"][0].as_str().unwrap().contains(END), "{done}");
}

/// A merge patch goes into objects (RFC 7396; hvac/hvac#793, #925).
#[tokio::test]
async fn a_patch_of_an_object_is_told_by_its_keys() {
    let (double, connector) = started().await;
    let write = |path: &str, data: Value| json!({ "path": path, "data": data });
    let data = json!({ "a": { "x": 1, "y": null, "z": {} }, "b": null });
    let preview = connector.preview("write_vault_secret", write("secret/apps/web", data.clone())).await.unwrap();
    let told = "write the keys a/x, a/z and remove a/y, b at secret/apps/web, beside which the other keys in the same object stay";
    assert!(preview.would.starts_with(told), "{preview:?}");
    let done = connector.call("write_vault_secret", write("secret/apps/web", data.clone())).await.unwrap();
    assert_eq!((&done["keys"], &done["removed"]), (&json!(["a/x", "a/z"]), &json!(["a/y", "b"])));
    assert_eq!(double.kept("data/apps/web").unwrap()["data"], data);
    // Where there is nothing to patch, the same keys are all that there is.
    connector.call("write_vault_secret", write("secret/apps/new", data.clone())).await.unwrap();
    assert_eq!(double.kept("data/apps/new").unwrap()["data"], json!({ "a": { "x": 1, "z": {} } }));
    // Without patch, a null is a value.
    let whole = json!({ "path": "secret/apps/new", "data": { "a": { "y": null } }, "patch": false });
    connector.call("write_vault_secret", whole).await.unwrap();
    assert_eq!(double.kept("data/apps/new").unwrap()["data"], json!({ "a": { "y": null } }));
}

/// Somebody wrote between a caller's look and its write (Orange-OpenSource/remote-key-server#29).
#[tokio::test]
async fn a_write_that_comes_late_learns_the_version_of_now() {
    let (double, connector) = started().await;
    let write = |cas: Value| {
        let mut write = json!({ "path": "secret/apps/late", "data": { "k": "v" }, "patch": false });
        write.as_object_mut().unwrap().extend(cas.as_object().unwrap().clone());
        write
    };
    for _ in 0..2 {
        connector.call("write_vault_secret", write(json!({}))).await.unwrap();
    }
    let early = connector.preview("write_vault_secret", write(json!({ "cas": 1 }))).await.unwrap_err();
    // `validateCheckAndSetOption` in `path_data.go` of the engine.
    let refusal = json!({ "errors": ["check-and-set parameter did not match the current version"] });
    double.want("secret/data/apps/late", 400, Some(refusal));
    let late = connector.call("write_vault_secret", write(json!({ "cas": 1 }))).await.unwrap_err();
    for error in [early, late] {
        assert_eq!(error.code, ErrorCode::Conflict, "{error:?}");
        assert!(error.message.contains("expects version 1") && error.message.contains("version 2 now"), "{error:?}");
    }
    // Where the policies don't permit to look, it stays a conflict.
    double.want("secret/subkeys/apps/late", 403, None);
    let error = connector.call("write_vault_secret", write(json!({ "cas": 1 }))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict, "{error:?}");
}

/// Where the token's policies don't permit to look first, Vault answers a patch of nothing with 404 and no body.
#[tokio::test]
async fn a_patch_of_nothing_is_told_as_that() {
    let (double, connector) = started().await;
    double.want("secret/subkeys/apps/none", 403, None);
    let write = |more: Value| {
        let mut write = json!({ "path": "secret/apps/none", "data": { "k": "v" } });
        write.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        write
    };
    for more in [json!({}), json!({ "cas": 3 })] {
        let error = connector.call("write_vault_secret", write(more)).await.unwrap_err();
        assert_eq!(error.code, NotFound, "{error:?}");
        assert!(error.message.contains("no readable version"), "{error:?}");
    }
}

/// KV version 1 keeps numbers digit by digit, version 2 answers them as floats (`path_data.go`), and a caller's may have come as a
/// float.
#[tokio::test]
async fn a_number_that_would_change_is_refused() {
    let (double, connector) = started().await;
    for (path, number, kept) in [
        ("secret/n", "9007199254740991", true),
        ("secret/n", "9007199254740993", false),
        ("secret/n", "1.5", true),
        ("old/n", "18446744073709551615", true),
        ("old/n", "18446744073709551616", false),
        ("old/n", "0.12345678901234567890123", false),
    ] {
        for text in [number.to_owned(), format!("{{\"a\": [{number}]}}")] {
            let value: Value = serde_json::from_str(&text).unwrap();
            let write = json!({ "path": path, "data": { "k": value }, "patch": false });
            let outcome = connector.call("write_vault_secret", write.clone()).await;
            assert_eq!(outcome.is_ok(), kept, "{path} {text}: {outcome:?}");
            let previewed = connector.preview("write_vault_secret", write).await;
            assert_eq!(previewed.is_ok(), kept, "{path} {text}: {previewed:?}");
        }
    }
    let spec = json!({ "releaseValues": [{ "path": "old/*", "keys": ["k"] }] });
    let connector = connect(&double.uri(), Some(TOKEN), &spec);
    double.want("old/n", 200, Some(json!(r#"{"request_id": "r", "data": {"k": 40123456789012345678}}"#)));
    let read = connector.call("read_vault_secret", json!({ "path": "old/n", "key": "k" })).await.unwrap();
    assert_eq!(read["value"], "40123456789012345678");
    assert!(read["hints"][0].as_str().unwrap().contains("is a number"), "{read}");
}

#[tokio::test]
async fn the_policy_without_a_text_is_explained() {
    let (double, connector) = started().await;
    let text = |policy: &str| Some(json!({ "request_id": "r", "data": { "name": "root", "policy": policy } }));
    double.want("sys/policies/acl/root", 200, text(""));
    let read = connector.call("read_vault_policy", json!({ "name": "root" })).await.unwrap();
    assert!(read["hints"][0].as_str().unwrap().contains("permits everything"), "{read}");
}
