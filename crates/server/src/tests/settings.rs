//! What it is told when it starts.

use super::*;

#[test]
fn settings_are_those_of_the_container() {
    let settings = ServeSettings::default();
    assert_eq!((settings.mcp_address.port(), settings.admin_address.port()), (8080, 8081));
    assert!(settings.drain_delay + crate::server::LEAST_DRAIN <= Duration::from_secs(30));
}

#[test]
fn a_configuration_is_read_with_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(LoadedConfig::read(directory.path(), None), Err(ConfigError::Read { .. })));
    let json = config().to_json().unwrap();
    std::fs::write(directory.path().join(CONFIG_FILE), &json).unwrap();
    let plain = LoadedConfig::read(directory.path(), None).unwrap();
    assert_eq!(plain.digest, ServeConfig::digest(&json, None));
    std::fs::write(directory.path().join(PLATFORM_CA_FILE), "PEM").unwrap();
    let with_ca = LoadedConfig::read(directory.path(), None).unwrap();
    assert_eq!((with_ca.digest, with_ca.platform_ca), (ServeConfig::digest(&json, Some("PEM")), Some("PEM".into())));
    std::fs::write(directory.path().join(CONFIG_FILE), "{}").unwrap();
    assert!(matches!(LoadedConfig::read(directory.path(), None), Err(ConfigError::Parse { .. })));
}

#[test]
fn a_configuration_that_somebody_else_has_changed_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let json = config().to_json().unwrap();
    std::fs::write(directory.path().join(CONFIG_FILE), &json).unwrap();
    let made_with = ServeConfig::whole_digest(&json, None);
    let read = || LoadedConfig::read(directory.path(), Some(&made_with));
    assert_eq!(read().unwrap().digest, made_with[..16]);
    std::fs::write(directory.path().join(PLATFORM_CA_FILE), "PEM").unwrap();
    assert!(matches!(read(), Err(ConfigError::Altered { .. })));
    std::fs::remove_file(directory.path().join(PLATFORM_CA_FILE)).unwrap();
    std::fs::write(directory.path().join(CONFIG_FILE), format!("{json} ")).unwrap();
    let refused = read().unwrap_err().to_string();
    assert!(refused.contains("somebody other than the operator has changed"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_token_panics(token in "\\PC{0,80}") {
        let authenticator = Authenticator::new("/nonexistent".into(), vec![], &config().operator, &config().connector);
        let mut headers = ::http::HeaderMap::new();
        if let Ok(value) = format!("Bearer {token}").parse() {
            headers.insert("authorization", value);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert!(runtime.block_on(authenticator.authenticate(&headers)).is_err());
    }
}
