use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A text with a secret, its kind, and what must be gone. Written in pieces, so that nobody's scanner takes this file for
/// a leak.
pub fn secrets() -> Vec<(String, &'static str, String)> {
    let hex = "0123456789abcdef0123456789abcdef01234567";
    let mixed = "AbCdEfGh12345678IjKlMnOp";
    let pair = |before: &str, secret: String, after: &str, kind: &'static str| {
        (format!("{before}{secret}{after}"), kind, secret)
    };
    vec![
        pair("token is ", format!("{}.CAESI{mixed}", "hvs"), ".", "vault_token"),
        pair("", format!("{}.AAAAAQ{mixed}_-", "hvb"), "", "vault_token"),
        pair("VAULT_TOKEN ", format!("s.{mixed}"), "\n", "vault_token"),
        pair("id ", format!("{}IOSFODNN7EXAMPLE", "AKIA"), ",", "aws_access_key"),
        pair("clone with ", format!("{}_{}", "ghp", &format!("{mixed}{mixed}")[..36]), " done", "github_token"),
        pair("", format!("github_pat_{mixed}_{mixed}"), "", "github_token"),
        pair("", format!("{}-{}", "glpat", &mixed[..20]), "", "gitlab_token"),
        pair("", format!("{}-123456789012-{mixed}", "xoxb"), "", "slack_token"),
        pair("", format!("https://hooks.slack.com/services/T000/B000/{mixed}"), "", "slack_webhook"),
        pair("", format!("{}_abc_{hex}", "CCIPAT"), "", "circleci_token"),
        pair("user:", format!("11{}", &hex[..32]), "", "jenkins_token"),
        pair("", format!("{}.{}.{mixed}", "eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0"), "", "jwt"),
        pair("Authorization: Basic ", "dXNlcjpwYXNzd29yZA==".to_owned(), "", "authorization"),
        pair("authorization: bearer ", "short-one".to_owned(), "", "authorization"),
        pair("curl -H 'Bearer ", format!("{mixed}.{mixed}"), "'", "bearer_token"),
        pair("https://bot:", "pass!word".to_owned(), "@git.example.com/x.git", "url_password"),
        pair("--password=", "tr0ub4dor".to_owned(), " --user=a", "password"),
        pair("`helm pull --username u --password ", "tr0ub4dor".to_owned(), " https://c` failed", "password"),
        pair("7: admin (5 bytes) 8: --password (10 bytes) 9: ", "Tr0ub4dor".to_owned(), " (9 bytes) ERROR", "password"),
        pair("argocd login x --auth-token ", "abc123def".to_owned(), "", "password"),
        pair("docker login -u bot -p ", "tr0ub4dor".to_owned(), " registry", "password"),
        pair("helm --registry-config x -p ", "tr0ub4dor".to_owned(), "", "password"),
        pair("https://git.example.com/x?private_token=", "abcdefgh12".to_owned(), "&y=1", "password"),
        pair("https://s3.example.com/x?X-Amz-Signature=", "abcdef0123456789".to_owned(), "&y=1", "url_token"),
        pair("DB_PASSWORD = \"", "correcthorse".to_owned(), "\"", "password"),
        pair("api_key: ", "abc12345def".to_owned(), "", "password"),
        pair("password: ", "correcthorse".to_owned(), "\n", "password"),
        pair("    Passphrase: '", "CorrectHorse-Battery".to_owned(), "'", "password"),
        pair("curl -fsSL -u admin:", "hunter".to_owned(), " https://x", "password"),
        pair("curl --user 'bot:", "hunter".to_owned(), "' -X POST", "password"),
        pair("curl -sku bot:", "hunter".to_owned(), " https://x", "password"),
        pair("curl 'https://x?a=b&c=d' \\\n  -u bot:", "hunter".to_owned(), " -O", "password"),
        pair("{\"password\": \"", "correcthorse".to_owned(), "\", \"user\": \"x\"}", "password"),
        pair("{password: ", "correcthorse".to_owned(), "}", "password"),
        pair("config {\\\"auth\\\": \\\"", "dXNlcjpwYXNz".to_owned(), "\\\"}", "basic_auth"),
        pair("{\"auths\":{\"r\":{\"auth\": \"", "dXNlcjpwYXNz".to_owned(), "\"}}}", "basic_auth"),
        pair("//registry.npmjs.org/:_auth=", "dXNlcjpwYXNzd29yZA==".to_owned(), "", "basic_auth"),
        pair("", format!("{}_{}", "npm", &format!("{mixed}{mixed}")[..36]), "", "npm_token"),
        pair("TWINE ", format!("{}-AgEIcHlwaS5vcmc{mixed}{mixed}", "pypi"), "", "pypi_token"),
        pair("", format!("{}-proj-{mixed}_{mixed}", "sk"), "", "openai_key"),
        pair("", format!("{}-{}T3BlbkFJ{}", "sk", &mixed[..20], &mixed[..20]), ",", "openai_key"),
        pair("", format!("{}-ant-api03-{mixed}-{mixed}", "sk"), "", "anthropic_key"),
        pair("key is ", format!("{}{}", "AIza", &format!("{mixed}{mixed}")[..35]), "", "google_key"),
        pair("", format!("{}_live_{mixed}", "sk"), "", "stripe_key"),
        pair("\"AccountKey\": \"", format!("{}==", &mixed.repeat(4)[..86]), "\"", "azure_key"),
        pair("AccountName=x;AccountKey=", format!("{}==", &mixed.repeat(4)[..86]), ";EndpointSuffix=y", "azure_key"),
        pair("id ", format!("abc8Q~{}", &mixed.repeat(2)[..34]), "", "azure_secret"),
        pair("", format!("{}_pat_{mixed}abc", "dckr"), "", "docker_token"),
        pair("", format!("{}_v1_{}", "dop", &hex.repeat(2)[..64]), "", "access_token"),
        pair("", format!("{}-AgENdGVzdC5weXBpLm9yZ{mixed}{mixed}", "pypi"), "", "pypi_token"),
        pair("", format!("{}-admin-{mixed}{mixed}T3BlbkFJ{mixed}", "sk"), "", "openai_key"),
        pair("", format!("{}{}", "AKCp", &mixed.repeat(3)[..69]), "", "artifactory_token"),
        pair("oc login --server x ", format!("sha256~{}", &mixed.repeat(2)[..43]), "", "openshift_token"),
        pair("", format!("{}_{hex}", "squ"), "", "sonar_token"),
        pair("", format!("{}-{}.01ab1cde2", "glpat", mixed.repeat(2)), "", "gitlab_token"),
        pair("", format!("{}_{}_1234abcd", "glsa", &mixed.repeat(2)[..32]), "", "grafana_token"),
        pair("", format!("AGE-SECRET-KEY-1{}", &"QPZRY9X8GF2T".repeat(5)[..58]), "", "age_key"),
        pair(
            "id:\n  ",
            format!("{}LW5vbmUAAAAE{mixed}\n  {}\n  {mixed}=", "b3BlbnNzaC1rZXktdjEA", mixed.repeat(3)),
            "\nafter",
            "private_key",
        ),
        pair(
            "key=",
            format!("{}{mixed}\\n{}\\n{mixed}==", "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgw", mixed.repeat(3)),
            "",
            "private_key",
        ),
        pair("", format!("{}{mixed}\n{}\n{mixed}", "MIIEowIBAAKCAQEAvTMF", mixed.repeat(3)), "\n", "private_key"),
        pair("", format!("{}{mixed}{mixed}", "MC4CAQAwBQYDK2VwBCIEI"), "", "private_key"),
        pair("", format!("{}{mixed}=", "MHcCAQEEI"), "", "private_key"),
        pair("", format!("{}{mixed}", "MIGHAgEAMBMGByqGSM49AgEG"), "", "private_key"),
        pair(
            "client-key-data: ",
            format!("LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpN{mixed}=="),
            "\n",
            "private_key",
        ),
        pair(
            "token ",
            format!("{}\n{}.{}\n  {}.{mixed}", "eyJhbGciOiJSUzI1", "NiJ9", "eyJzdWIiOiIx", "MjM0NTY3ODkwIn0"),
            "\nafter",
            "jwt",
        ),
        pair("", format!("{}\n.{}.\n{mixed}", "eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0"), "", "jwt"),
        pair(
            "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n",
            format!("-----BEGIN RSA {} KEY-----\nMIIE\nabc=\n-----END RSA {} KEY-----", "PRIVATE", "PRIVATE"),
            "\nafter",
            "private_key",
        ),
        pair("", format!("-----BEGIN OPENSSH {} KEY-----\nb3BlbnNzaC1rZXk and cut", "PRIVATE"), "", "private_key"),
    ]
}

#[test]
fn well_known_secrets_are_replaced_and_the_rest_stays() {
    for (text, kind, secret) in secrets() {
        let (redacted, count) = redact(&text);
        let expected = text.replace(&secret, &mark(kind));
        assert_eq!((redacted.as_ref(), count), (expected.as_str(), 1), "{text}");
        assert_eq!(redact(&redacted), (Cow::Borrowed(redacted.as_ref()), 0), "a mark is no secret");
    }
}

#[test]
fn the_secret_key_beside_an_access_key_goes_with_it() {
    let secret = format!("wJalrXUtnFEMI/K7MDENG/{}", "bPxRfiCYEXAMPLEKEY");
    let text = format!("{}IOSFODNN7EXAMPLE {secret}\n", "AKIA");
    assert_eq!(redact(&text).0, "[redacted: aws_access_key] [redacted: aws_secret_key]\n");
    let alone = format!("digest {secret} and more");
    assert_eq!(redact(&alone), (Cow::Borrowed(alone.as_str()), 0), "by itself it could be anything");
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "arn:aws:iam::123456789012:role/service-role/AWSCodeBuild-abcdef0123456789",
        "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/AKIA-no-key:*",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "d41d8cd98f00b204e9800998ecf8427e",
        "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        "s.example.com/some/path and s.abcdefghijklmnopqrstuvwx",
        "database/creds/app/2mF7xKq1vZcPp8Yb3Rn9TgWd",
        "https://vault.example.com:8200/v1/sys/health?standbyok=true",
        "https://example.com:8443/a@b",
        "ssh://git@github.com/org/repo.git",
        "password: required",
        "pass --password together with --username, and --token instead of both",
        "the option --password is required; --token must be given",
        "docker run -p 8080:80 nginx; psql -p 5432",
        "helm pull --password $PASSWORD --token <token>",
        "password must be at least 12 characters",
        "password=${DB_PASSWORD} token=$TOKEN --password=**** --password=<secret>",
        "Password: incorrect\npassword: authentication failed\nPassphrase: Required!",
        "password: {{ .Values.password }}\npassword: (sensitive value)\npassword: !vault\n",
        "password: redis-password\npassword: MYSQL_ROOT_PASSWORD\npassword: javax.crypto.BadPaddingException",
        "{\"password\": \"This field may not be blank.\"} wrong password: something else happened",
        "token: null\nauth_token=null access_token: none password=false password=None PASSWORD=xxxxxxxx",
        "password=*** password: ******** token=****** https://bot:***@git.example.com https://${USER}:${PASS}@x/",
        "password: ${VAR}\npassword: $VAR_OF_LETTERS\npassword: %PASSWORD%\npassword: #{password}",
        "https://example.com/a:b/c@v1 git@github.com:org/repo.git mailto:someone@example.com",
        "auth: required\nauth = disabled\n\"auth\": \"dXNlcm5hbWU=\" basic_auth: true",
        "curl -XPUT http://x:8080/ -u user:${{ secrets.X }} --user-agent a:b -o x; curl -su https://x:1/",
        "sk-proj-some-long-name-of-a-service-in-lower-case-letters rk_test_environment glc_x sha256~short",
        "secretKey: database-password\napi_key: configured\npasswordSecretRef: database\npassword: vault/kv/data#key",
        "curl -u \"$USER:$PASS\" https://x; docker run -u 1000:1000 x && id -u root:root",
        "{\"auth\": \"kubernetes\", \"auth\": \"approle1\"}",
        "npm_config_registry npm_lifecycle_event npm_package_name sk-something-else sk_buff pypi-server-1.2",
        "\"integrity\": \"sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==\"",
        "eyJ is how a token begins.\nIt goes on.\neyJhbGciOiJSUzI1NiJ9\nis a header",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV V1StGXR8_Z5jdHi6B-myT d3b07384d113edec49eaa6238ad5ff00:12",
        "ghcr.io/org/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 dapi-server whsec_x",
        "The bearer internationalizationism of tokens",
        "path \"secret/data/apps/*\" { capabilities = [\"read\"] }",
        "auth/token/lookup-self",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----",
        "2026-11-21T07:00:00Z build 1182736455 finished in 00:11:22.333",
    ] {
        assert_eq!(redact(text), (Cow::Borrowed(text), 0));
    }
}

#[test]
fn fields_with_the_name_of_a_secret_are_replaced() {
    for (name, value, expected) in [
        ("password", json!("hunter2"), true),
        ("SecretAccessKey", json!("x"), true),
        ("client-secret", json!("x"), true),
        ("password", json!(""), false),
        ("password", json!(null), false),
        ("password", json!("${PASSWORD}"), false),
        ("password_policy", json!("strong"), false),
        ("token_type", json!("service"), false),
    ] {
        let mut changed = value.clone();
        assert_eq!(redact_field(name, &mut changed), expected, "{name}: {value}");
        assert_eq!(changed, if expected { json!("[redacted: field]") } else { value });
    }
}

#[test]
fn every_form_is_used() {
    assert_eq!(COMPILED.forms.len(), FORMS.len());
    assert_eq!(COMPILED.any.len(), FORMS.len());
    assert!(COMPILED.aws.is_some());
}

#[test]
fn a_large_answer_takes_little_time() {
    let lines = "2026-11-21 07:00:00 INFO step 12 password: none aaaaaaaa://bbbbbbbb:cccc eyJ Bearer\n".repeat(12_000);
    let began = std::time::Instant::now();
    assert_eq!(redact(&lines).1, 0);
    // A megabyte of nearly secrets, in an unoptimised build, on a busy machine.
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
}

proptest! {
    #[test]
    fn ids_and_digests_are_never_taken_for_secrets(
        digest in "(sha256:)?[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32}",
        uuid in "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        arn in "arn:aws:(ecs|lambda|logs|iam):[a-z]{2}-[a-z]{4,9}-[1-3]:[0-9]{12}:[a-z]{3,8}/[A-Za-z0-9/_-]{1,40}",
        number in any::<u64>(),
        name in "[a-z][a-z0-9-]{0,50}",
        integrity in "sha(256|384|512)-[A-Za-z0-9+/]{43,86}={0,2}",
        ulid in "[0-7][0-9A-HJKMNP-TV-Z]{25}",
    ) {
        for text in [&integrity, &ulid, &digest, &uuid, &arn, &number.to_string(), &name, &format!("{name}@{digest} {uuid} {arn} {number}")] {
            prop_assert_eq!(redact(text), (Cow::Borrowed(text.as_str()), 0));
        }
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands(
        before in "[a-z äöü\n.,(]{0,40}[ \n(]",
        after in "[ \n,][a-z äöü\n.,)]{0,40}",
        (text, kind, secret) in prop::sample::select(secrets()),
    ) {
        // A key that was cut has no end.
        let after = if text.ends_with("and cut") { String::new() } else { after };
        let whole = format!("{before}{text}{after}");
        let (redacted, count) = redact(&whole);
        prop_assert_eq!(count, 1);
        prop_assert!(!redacted.contains(&secret));
        let expected = text.replace(&secret, &mark(kind));
        prop_assert_eq!(redacted.into_owned(), format!("{before}{expected}{after}"));
    }

    #[test]
    fn no_text_panics_and_a_second_look_finds_nothing(text in "\\PC{0,200}") {
        let (redacted, _) = redact(&text);
        let again = redact(&redacted).0.into_owned();
        prop_assert_eq!(redact(&again).0.into_owned(), again);
    }
}
