use super::*;
use credentials::supply::{Supply, SupplyState};

#[test]
fn the_names_and_buckets_are_those_that_dashboards_use() {
    let metrics = Metrics::new();
    metrics.called("get_fake_thing", "success", Duration::from_millis(20), 10, None);
    metrics.called(UNKNOWN_TOOL, "error", Duration::ZERO, 0, None);
    metrics.called("slow_fake_thing", "success", Duration::from_millis(20), 10, Some("0af7"));
    metrics.refused("authorization");
    metrics.cache_looked_up(true);
    metrics.rate_limited();
    metrics.loop_warned();
    metrics.redacted(2);
    metrics.replayed();
    metrics.credentials_loaded(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    assert_eq!(metrics.cache_counts(), CacheCounts { hits: 1, misses: 0 });
    let request = metrics.request_begins();
    metrics.probed("fake", "Healthy", Duration::from_millis(3));
    metrics.refused_token("expired");
    let state = CredentialsState {
        reason: "NoFields".into(),
        message: String::new(),
        mounted_revision: None,
        loaded_revision: None,
        supply: None,
    };
    assert!(!metrics.text(&state, 2, true).contains("connector_agent"), "no agent supplies the credentials");
    let at = |second| Some(jiff::Timestamp::from_second(second).unwrap());
    let supply = Supply {
        state: SupplyState::Degraded,
        reason: "VaultSealed".into(),
        message: String::new(),
        since: jiff::Timestamp::UNIX_EPOCH,
        fetched: at(1_700_000_000),
        expires: at(4_000_000_000),
        rotations: 1,
        renewals: 2,
        failures: 3,
        next_attempt: None,
    };
    let (_sender, supplied) = watch::channel(CredentialsState { supply: Some(supply), ..state.clone() });
    let metrics = metrics.supplied(supplied);
    let text = metrics.text(&state, 2, true);
    for line in [
        r#"connector_agent_state{state="Degraded"} 1"#,
        r#"connector_agent_state{state="Serving"} 0"#,
        "connector_agent_fetched_timestamp_seconds 1700000000",
        "connector_agent_expiry_timestamp_seconds 4000000000",
        "connector_agent_rotations_total 1",
        "connector_agent_renewals_total 2",
        "connector_agent_failures_total 3",
        r#"mcp_tool_calls_total{tool_name="get_fake_thing",status="success"} 1"#,
        r#"mcp_tool_calls_total{tool_name="unknown",status="error"} 1"#,
        r#"mcp_tool_call_duration_seconds_bucket{le="0.05",tool_name="get_fake_thing"} 1"#,
        r#"mcp_tool_call_duration_seconds_bucket{le="30.0",tool_name="get_fake_thing"} 1"#,
        r#"connector_probe_total{platform="fake",reason="Healthy"} 1"#,
        r#"connector_probe_duration_seconds_count{platform="fake"} 1"#,
        r#"connector_credentials_state{reason="NoFields"} 1"#,
        r#"connector_credentials_state{reason="Loaded"} 0"#,
        r#"mcp_http_auth_failures_total{reason="expired"} 1"#,
        "mcp_tool_calls_in_flight 2",
        "mcp_active_requests 1",
        r#"mcp_tool_calls_refused_total{guard="authorization"} 1"#,
        r#"mcp_tool_cache_lookups_total{result="hit"} 1"#,
        r#"mcp_tool_cache_lookups_total{result="miss"} 0"#,
        "mcp_rate_limited_total 1",
        "mcp_loop_warnings_total 1",
        "mcp_redactions_total 2",
        "mcp_idempotent_replays_total 1",
        "connector_credentials_loaded_timestamp_seconds 1700000000.0",
        "connector_ready 1",
        concat!("connector_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    let slow = r#"mcp_tool_call_duration_seconds_bucket{le="0.05",tool_name="slow_fake_thing"} 1 # {trace_id="0af7"}"#;
    assert!(text.lines().any(|have| have.starts_with(slow)), "{text}");
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") >= 3.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    drop(request);
    assert!(metrics.text(&state, 0, true).lines().any(|line| line == "mcp_active_requests 0"));
}
