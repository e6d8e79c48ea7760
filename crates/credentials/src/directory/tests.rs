use std::path::Path;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::{
    assessment::{Assessment, encode},
    *,
};
use api::requirement::{CLIENT_CERTIFICATE, Field};
use files::{FileContent, testing::kubelet_swap};

const TOKEN: Requirement = Requirement::any_of(&[&[Field::line("token")]]);
const EITHER: Requirement =
    Requirement::any_of(&[&[Field::line("user"), Field::line("password")], &[Field::line("token")]]);

type Files<'a> = &'a [(&'a str, &'a [u8])];

fn started(
    directory: &Path,
    requirement: Requirement,
) -> (CredentialsHandle, watch::Receiver<CredentialsState>, tokio_util::sync::DropGuard) {
    started_with(directory, requirement, Layout::default())
}

fn started_with(
    directory: &Path,
    requirement: Requirement,
    layout: Layout,
) -> (CredentialsHandle, watch::Receiver<CredentialsState>, tokio_util::sync::DropGuard) {
    let shutdown = CancellationToken::new();
    let source = Source::Directory(directory.to_owned());
    let (handle, state) = start(source, requirement, layout, "uid".into(), shutdown.clone());
    (handle, state, shutdown.drop_guard())
}

fn field(handle: &CredentialsHandle, name: &str) -> Option<String> {
    Some(handle.current()?.field(name)?.expose_secret().to_owned())
}

async fn until(state: &mut watch::Receiver<CredentialsState>, reason: &str) -> CredentialsState {
    let waited = state.wait_for(|state| state.reason == reason && state.mounted_revision.is_some());
    tokio::time::timeout(Duration::from_mins(1), waited).await.expect(reason).unwrap().clone()
}

#[tokio::test]
async fn files_of_this_process_are_checked_and_followed_like_those_of_a_directory() {
    let files = |token: &[u8]| Supplied {
        files: DirectorySnapshot {
            files: [("token".to_owned(), FileContent::Bytes(Zeroizing::new(token.to_vec())))].into(),
            any: true,
        },
        supply: None,
    };
    let (sender, receiver) = watch::channel(Supplied::default());
    let shutdown = CancellationToken::new();
    let _guard = shutdown.clone().drop_guard();
    let (mut handle, mut state) = start(Source::Memory(receiver), TOKEN, Layout::default(), "uid".into(), shutdown);
    assert_eq!(state.borrow().reason, "NoFields");
    for token in ["first", "second"] {
        sender.send_replace(files(token.as_bytes()));
        handle.changed().await;
        let set = handle.current().unwrap();
        assert_eq!(set.field("token").unwrap().expose_secret(), token);
    }
    sender.send_replace(files(b"two\nlines"));
    let told = state.wait_for(|state| state.reason == "FieldInvalid").await.unwrap().message.clone();
    assert!(told.contains("stay in use") && !told.contains("two"), "{told}");
    assert_eq!(handle.current().unwrap().field("token").unwrap().expose_secret(), "second");
}

#[tokio::test]
async fn what_is_mounted_is_in_use_at_once() {
    let directory = tempfile::tempdir().unwrap();
    kubelet_swap(directory.path(), 1, &[("token", b"s.first\n")]);
    let (handle, mut state, _guard) = started(directory.path(), TOKEN);
    assert_eq!(field(&handle, "token").unwrap(), "s.first");
    assert_eq!(state.borrow().reason, "Loaded");
    assert_eq!(state.borrow().mounted_revision, None, "the start must not wait for the revision");
    let first = until(&mut state, "Loaded").await;
    assert_eq!(first.mounted_revision, first.loaded_revision);
    assert_eq!(first.mounted_revision.unwrap().len(), 8);
}

#[tokio::test]
async fn a_bad_rotation_leaves_the_good_set_in_use() {
    let directory = tempfile::tempdir().unwrap();
    kubelet_swap(directory.path(), 1, &[("token", b"s.first")]);
    let (mut handle, mut state, _guard) = started(directory.path(), TOKEN);
    let first = until(&mut state, "Loaded").await;

    kubelet_swap(directory.path(), 2, &[("token", b"two\nlines")]);
    let invalid = until(&mut state, "FieldInvalid").await;
    assert!(invalid.message.contains("`token`") && invalid.message.contains("stay in use"), "{invalid:?}");
    assert!(!invalid.message.contains("two"), "{invalid:?}");
    assert_eq!(invalid.loaded_revision, first.loaded_revision);
    assert_ne!(invalid.mounted_revision, first.mounted_revision);
    assert_eq!(field(&handle, "token").unwrap(), "s.first");

    kubelet_swap(directory.path(), 3, &[("token", b"s.second")]);
    tokio::time::timeout(Duration::from_mins(1), handle.changed()).await.unwrap();
    assert_eq!(field(&handle, "token").unwrap(), "s.second");
    assert_eq!(handle.current().unwrap().generation, 2);

    kubelet_swap(directory.path(), 4, &[("token", b"s.first")]);
    let waited = state.wait_for(|state| state.loaded_revision == first.loaded_revision);
    tokio::time::timeout(Duration::from_mins(1), waited).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_no_event_tells_of_is_found_within_ten_seconds() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let there = elsewhere.path().join("token");
    std::fs::write(&there, "s.first").unwrap();
    // Nothing changes in the directory that is watched.
    std::os::unix::fs::symlink(&there, directory.path().join("token")).unwrap();
    let (mut handle, _state, _guard) = started(directory.path(), TOKEN);
    tokio::time::pause();
    for token in ["s.second", "s.third"] {
        std::fs::write(&there, token).unwrap();
        let begun = tokio::time::Instant::now();
        handle.changed().await;
        assert_eq!(field(&handle, "token").unwrap(), token);
        assert!(begun.elapsed().as_secs() <= 10, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn the_same_content_is_no_new_set() {
    let directory = tempfile::tempdir().unwrap();
    kubelet_swap(directory.path(), 1, &[("token", b"s.same")]);
    let (handle, mut state, _guard) = started(directory.path(), TOKEN);
    let before = until(&mut state, "Loaded").await;
    kubelet_swap(directory.path(), 2, &[("token", b"s.same\n"), ("other", b"x")]);
    handle.reread();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(handle.current().unwrap().generation, 1);
    assert_eq!(*state.borrow(), before);
}

#[tokio::test]
async fn a_reader_on_request_finds_files_that_were_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("later");
    let (mut handle, state, _guard) = started(&missing, TOKEN);
    assert_eq!(state.borrow().reason, "NoFields");
    assert!(state.borrow().message.contains("keys for: token"), "{:?}", state.borrow());
    std::fs::create_dir(&missing).unwrap();
    std::fs::write(missing.join("token"), "s.later").unwrap();
    handle.reread();
    tokio::time::timeout(Duration::from_mins(1), handle.changed()).await.unwrap();
    assert_eq!(field(&handle, "token").unwrap(), "s.later");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_see_a_mixed_pair() {
    let directory = tempfile::tempdir().unwrap();
    kubelet_swap(directory.path(), 0, &[("user", b"0"), ("password", b"0")]);
    let (handle, _state, _guard) = started(directory.path(), EITHER);
    let path = directory.path().to_owned();
    let writer = std::thread::spawn(move || {
        for generation in 1..300 {
            let value = generation.to_string();
            kubelet_swap(&path, generation, &[("user", value.as_bytes()), ("password", value.as_bytes())]);
        }
    });
    while !writer.is_finished() {
        handle.reread();
        let set = handle.current().unwrap();
        let pair = (set.field("user").unwrap().expose_secret(), set.field("password").unwrap().expose_secret());
        assert_eq!(pair.0, pair.1);
        tokio::task::yield_now().await;
    }
    writer.join().unwrap();
    let last = async {
        while field(&handle, "user").unwrap() != "299" {
            handle.reread();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), last).await.unwrap();
}

fn assessed(requirement: Requirement, files: Files<'_>) -> Assessment {
    let directory = tempfile::tempdir().unwrap();
    kubelet_swap(directory.path(), 1, files);
    let mounted = read_set(directory.path(), &requirement.names(), MAX_FILE_BYTES).unwrap();
    assess(&Given { mounted: &mounted, values: &BTreeMap::new() }, requirement)
}

#[test]
fn faults_are_named_with_what_is_needed() {
    let large = vec![b'a'; MAX_FILE_BYTES + 1];
    let cases: &[(Requirement, Files<'_>, Reason, &str)] = &[
        (TOKEN, &[], Reason::NoFields, "no credentials are mounted"),
        (TOKEN, &[("tokn", b"x")], Reason::FieldMissing, "key `token` is missing"),
        (TOKEN, &[("token", b"\n")], Reason::FieldMissing, "key `token` is empty"),
        (EITHER, &[("user", b"me")], Reason::FieldMissing, "key `password` is missing; needed: user and password"),
        (TOKEN, &[("token", b"\xff\xfe")], Reason::FieldInvalid, "UTF-8"),
        (TOKEN, &[("token", b"a\x07b")], Reason::FieldInvalid, "control character"),
        (TOKEN, &[("token", b" a")], Reason::FieldInvalid, "blank"),
        (TOKEN, &[("token", &large)], Reason::FieldInvalid, "65536 bytes"),
        (EITHER, &[("user", b"me"), ("token", b"t")], Reason::Loaded, "token loaded"),
    ];
    for (requirement, files, reason, part) in cases {
        let assessment = assessed(*requirement, files);
        assert_eq!(assessment.reason, *reason, "{}", assessment.message);
        assert!(assessment.message.contains(part), "{}", assessment.message);
        assert_eq!(assessment.usable.is_some(), *reason == Reason::Loaded);
    }
}

#[test]
fn pem_must_parse() {
    const PEM: Requirement = Requirement::any_of(&[&[Field::pem("key")]]);
    let good = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(assessed(PEM, &[("key", good)]).reason, Reason::Loaded);
    assert_eq!(assessed(PEM, &[("key", b"AAAA")]).reason, Reason::FieldInvalid);
}

#[test]
fn a_client_certificate_comes_with_its_own_key() {
    const MTLS: Requirement = Requirement::any_of(&[&[Field::line("token")]]).with_additions(&[CLIENT_CERTIFICATE]);
    let certificate = include_bytes!("../../../outbound/src/fixtures/client.pem").as_slice();
    let key = include_bytes!("../../../outbound/src/fixtures/client.key").as_slice();
    let other = include_bytes!("../../../outbound/src/fixtures/server.key").as_slice();
    let cases: &[(Files<'_>, Reason, &str)] = &[
        (&[], Reason::Loaded, "token loaded"),
        (
            &[("tls_certificate", certificate), ("tls_key", key)],
            Reason::Loaded,
            "token and tls_certificate and tls_key loaded",
        ),
        (&[("tls_certificate", certificate)], Reason::FieldMissing, "key `tls_key` is missing; needed together"),
        (&[("tls_certificate", certificate), ("tls_key", b"\n")], Reason::FieldMissing, "key `tls_key` is empty"),
        (&[("tls_certificate", key), ("tls_key", key)], Reason::FieldInvalid, "holds no certificate"),
        (&[("tls_certificate", certificate), ("tls_key", certificate)], Reason::FieldInvalid, "holds no private key"),
        (&[("tls_certificate", certificate), ("tls_key", other)], Reason::FieldInvalid, "is not the key of"),
    ];
    for (pair, reason, part) in cases {
        let mut files = vec![("token", b"t".as_slice())];
        files.extend_from_slice(pair);
        let assessment = assessed(MTLS, &files);
        assert_eq!(assessment.reason, *reason, "{}", assessment.message);
        assert!(assessment.message.contains(part), "{}", assessment.message);
    }
}

/// As the Secrets Store CSI driver leaves them: files by the names of its objects, some in folders, swapped as a whole.
#[tokio::test]
async fn files_with_names_of_their_own_are_read_as_one_set() {
    let swap = |directory: &Path, generation: &str, user: &str, password: &str| {
        let data = directory.join(generation);
        std::fs::create_dir_all(data.join("team")).unwrap();
        std::fs::write(data.join("ci-user"), user).unwrap();
        std::fs::write(data.join("team/ci-password"), password).unwrap();
        std::os::unix::fs::symlink(generation, directory.join("..data_tmp")).unwrap();
        std::fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
        for name in ["ci-user", "team"] {
            let _there_already = std::os::unix::fs::symlink(Path::new("..data").join(name), directory.join(name));
        }
    };
    let directory = tempfile::tempdir().unwrap();
    swap(directory.path(), "..2026_01_01_1", "one", "first");
    let files =
        [("user".to_owned(), "ci-user".to_owned()), ("password".to_owned(), "team/ci-password".to_owned())].into();
    let layout = Layout { files, ..Layout::default() };
    let (mut handle, _state, _guard) = started_with(directory.path(), EITHER, layout);
    let pair = |handle: &CredentialsHandle| [field(handle, "user").unwrap(), field(handle, "password").unwrap()];
    assert_eq!(pair(&handle), ["one", "first"]);
    swap(directory.path(), "..2026_01_01_2", "two", "second");
    tokio::time::timeout(Duration::from_mins(1), handle.changed()).await.unwrap();
    assert_eq!(pair(&handle), ["two", "second"]);
}

#[tokio::test]
async fn values_that_are_no_secrets_complete_the_files_and_never_hide_one() {
    let directory = tempfile::tempdir().unwrap();
    let values = [("user".to_owned(), "ci".to_owned())].into();
    let layout = Layout { values, ..Layout::default() };
    kubelet_swap(directory.path(), 1, &[("password", b"first")]);
    let (handle, mut state, _guard) = started_with(directory.path(), EITHER, layout);
    assert_eq!((field(&handle, "user").unwrap(), field(&handle, "password").unwrap()), ("ci".into(), "first".into()));
    kubelet_swap(directory.path(), 2, &[("password", b"second"), ("user", b"other")]);
    handle.reread();
    let told = until(&mut state, "FieldInvalid").await.message;
    assert!(told.contains("`user` is mounted, and stands in spec.values") && !told.contains("other"), "{told}");
    assert_eq!((field(&handle, "user").unwrap(), field(&handle, "password").unwrap()), ("ci".into(), "first".into()));
}

#[test]
fn revisions_are_salted() {
    assert_ne!(revision(b"content of some length", "one"), revision(b"content of some length", "two"));
}

proptest! {
    #[test]
    fn different_pairs_have_different_content(
        a in "[a-z]{0,4}", b in "[a-z]{0,4}", c in "[a-z]{0,4}", d in "[a-z]{0,4}",
    ) {
        let of = |user: &str, password: &str| {
            let files = [("user", user), ("password", password)].into_iter().map(|(name, value)| {
                (name.to_owned(), FileContent::Bytes(Zeroizing::new(value.as_bytes().to_vec())))
            });
            let snapshot = DirectorySnapshot { files: files.collect(), any: true };
            let given = Given { mounted: &snapshot, values: &BTreeMap::new() };
            encode(&given, &mut ["user", "password"].into_iter()).unwrap().to_vec()
        };
        prop_assert_eq!(of(&a, &b) == of(&c, &d), (a, b) == (c, d));
    }

    #[test]
    fn no_bytes_panic_or_leak(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let files = [("token".to_owned(), FileContent::Bytes(Zeroizing::new(bytes.clone())))].into();
        let mounted = DirectorySnapshot { files, any: true };
        let assessment = assess(&Given { mounted: &mounted, values: &BTreeMap::new() }, TOKEN);
        if let Some(fields) = assessment.usable {
            let value = fields["token"].expose_secret().to_owned();
            prop_assert!(!value.is_empty() && value.bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
    }
}
