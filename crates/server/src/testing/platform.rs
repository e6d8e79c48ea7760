//! A platform that does what a test wants.

use super::*;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Blue,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThingInput {
    /// Name of the thing.
    name: String,
    #[serde(default)]
    color: Option<Color>,
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Thing {
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Deleted {
    deleted: Thing,
}

#[derive(Deserialize, JsonSchema)]
struct TextInput {
    text: String,
    #[serde(default)]
    times: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
struct TextOutput {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct NoInput {}

/// What a test sees of the platform and does to it.
pub struct FakeState {
    /// Calls of `wait_fake_time` that run.
    pub waiting: watch::Sender<usize>,
    /// Calls of `wait_fake_time` that were ended from outside.
    pub dropped: watch::Sender<usize>,
    /// Lets one call of `wait_fake_time` end.
    pub release: Notify,
    /// The state that a mutation is announced on.
    pub version: AtomicU64,
    /// Texts that were echoed.
    pub echoes: AtomicUsize,
    /// Deletions that were begun.
    pub deletions: watch::Sender<usize>,
    /// Whether deletions that were begun come to their end.
    pub open: watch::Sender<bool>,
    /// What the probe answers.
    pub report: Mutex<ProbeReport>,
    /// Times that the client was closed.
    pub closed: AtomicUsize,
    /// The way to a platform that is asked for a thing, if a test has one.
    pub upstream: Mutex<Option<Arc<Outbound>>>,
    /// The ways out.
    pub outbound: Mutex<Vec<OutboundState>>,
}

/// A way to the platform on which so many of ten requests run, and so many of twenty wait.
pub fn way(running: usize, queued: usize) -> OutboundState {
    OutboundState {
        name: "fake".into(),
        bulkhead: BulkheadState { running, queued, max_running: 10, max_queued: 20 },
        breaker: BreakerState { state: BreakerPosition::Open, consecutive_failures: 5, retry_after_seconds: Some(7) },
        pace: PaceState { requests_per_minute: Some(600.0), ..PaceState::default() },
    }
}

/// A platform that does what tests ask.
#[derive(Clone)]
pub struct FakePlatform {
    pub state: Arc<FakeState>,
}

impl Default for FakePlatform {
    fn default() -> Self {
        let report = ProbeReport {
            status: HealthStatus::Ok,
            reason: "Healthy".into(),
            message: "all is well".into(),
            passing: false,
            credentials: CredentialVerdict::Accepted,
            credentials_message: "accepted".into(),
            version: Some("1.2.3".into()),
            identity: Some("tester".into()),
            state: Some("active".into()),
            checks: vec![],
        };
        let state = FakeState {
            waiting: watch::Sender::new(0),
            dropped: watch::Sender::new(0),
            release: Notify::new(),
            version: AtomicU64::new(1),
            echoes: AtomicUsize::new(0),
            deletions: watch::Sender::new(0),
            open: watch::Sender::new(true),
            report: Mutex::new(report),
            closed: AtomicUsize::new(0),
            upstream: Mutex::default(),
            outbound: Mutex::default(),
        };
        Self { state: Arc::new(state) }
    }
}

struct Waiting(Arc<FakeState>, bool);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|count| *count -= 1);
        if !self.1 {
            self.0.dropped.send_modify(|count| *count += 1);
        }
    }
}

fn declaration(name: &'static str, effect: Effect) -> ToolDeclaration {
    let declare = match effect {
        Effect::Read => ToolDeclaration::read,
        Effect::Mutate => ToolDeclaration::mutate,
        Effect::Destroy => ToolDeclaration::destroy,
    };
    declare(name, "A tool", "Does what tests need.")
}

async fn ask_platform(state: &FakeState) {
    let upstream = state.upstream.lock().unwrap().clone();
    if let Some(upstream) = upstream {
        let request = outbound::Request::new(outbound::Purpose::Look, http::Method::GET, ["thing"]);
        upstream.send(&request, tokio::time::Instant::now() + Duration::from_secs(5)).await.unwrap();
    }
}

impl FakePlatform {
    pub fn entries(&self) -> Vec<ToolEntry> {
        let (state, before, after) = (self.state.clone(), self.state.clone(), self.state.clone());
        let (asked, echoed) = (self.state.clone(), self.state.clone());
        vec![
            ToolEntry::read(declaration("get_fake_thing", Effect::Read), move |input: ThingInput, _: CallContext| {
                let asked = asked.clone();
                async move {
                    let _unused = (input.limit, matches!(input.color, Some(Color::Red | Color::Blue)));
                    match input.name.as_str() {
                        "panic" => panic!("canary-panic"),
                        "missing" => Err(ToolError::new(tools::ErrorCode::NotFound, "no thing \u{1b}[1mmissing")),
                        _ => {
                            ask_platform(&asked).await;
                            Ok(Thing { name: input.name })
                        }
                    }
                }
            }),
            ToolEntry::read(
                declaration("echo_fake_text", Effect::Read).cached(Duration::from_secs(30)),
                move |input: TextInput, context: CallContext| {
                    echoed.echoes.fetch_add(1, Ordering::SeqCst);
                    context.progress.report(1.0, None, "echoing");
                    async move { Ok(TextOutput { text: input.text.repeat(input.times.unwrap_or(1)) }) }
                },
            ),
            ToolEntry::read(declaration("wait_fake_time", Effect::Read), move |_: NoInput, _: CallContext| {
                let state = state.clone();
                async move {
                    state.waiting.send_modify(|count| *count += 1);
                    let mut waiting = Waiting(state.clone(), false);
                    state.release.notified().await;
                    waiting.1 = true;
                    Ok(TextOutput { text: "waited".into() })
                }
            }),
            ToolEntry::mutation(
                declaration("delete_fake_thing", Effect::Destroy),
                move |input: ThingInput, _: CallContext| {
                    let version = before.version.load(Ordering::SeqCst);
                    async move {
                        let would = format!("delete {}", input.name);
                        Ok(Preview { would, state: json!({ "version": version }) })
                    }
                },
                move |input: ThingInput, _: CallContext| {
                    after.deletions.send_modify(|count| *count += 1);
                    let mut open = after.open.subscribe();
                    async move {
                        // The others have sent something before they wait.
                        if input.name != "unread" {
                            outbound::testing::sent_a_change();
                        }
                        let _sender_lives = open.wait_for(|open| *open).await;
                        match input.name.as_str() {
                            "locked" => Err(ToolError::new(tools::ErrorCode::Conflict, "it is locked")),
                            "unread" => {
                                Err(ToolError::new(tools::ErrorCode::PlatformError, "it can't be read")
                                    .with_remedy("wait"))
                            }
                            "broken" => Err(ToolError::new(tools::ErrorCode::PlatformError, "it broke")),
                            _ => Ok(Deleted { deleted: Thing { name: input.name } }),
                        }
                    }
                },
            ),
            ToolEntry::read(
                declaration("reveal_fake_secret", Effect::Read).off_by_default().sensitive(),
                |_: NoInput, _: CallContext| async move { Ok(TextOutput { text: "canary-secret".into() }) },
            ),
        ]
    }
}

#[async_trait]
impl Platform for FakePlatform {
    fn tools(self: Arc<Self>) -> Vec<ToolEntry> {
        self.entries()
    }

    async fn probe(&self, _timeout: Duration) -> ProbeReport {
        self.state.report.lock().unwrap().clone()
    }

    fn check_tool(&self) -> &'static str {
        "check_fake_connector"
    }

    fn instructions(&self) -> String {
        "Fake things.".into()
    }

    fn outbound(&self) -> Vec<OutboundState> {
        self.state.outbound.lock().unwrap().clone()
    }

    async fn close(&self) {
        self.state.closed.fetch_add(1, Ordering::SeqCst);
    }
}
