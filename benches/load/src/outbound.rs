//! The way to a platform, with the product's outbound stack and with the bare HTTP client below it: the same request, and
//! the same answer read to its end, by so many tasks at a time.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use api::endpoint::{AddressPolicy, PlatformUrl};
use http::{HeaderName, Method};
use outbound::{Outbound, OutboundLimits, OutboundSettings, Purpose, Request, USER_AGENT, classify_by_status};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::calls::Times;

const PATH: [&str; 5] = ["v1", "secret", "metadata", "after-5", ""];
const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
/// Time that a request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a platform is asked.
#[derive(Deserialize)]
pub struct Plan {
    url: String,
    /// Requests at a time.
    at_once: usize,
    seconds: f64,
}

impl Plan {
    /// Asks again and again.
    async fn run<F, R>(&self, ask: F) -> Result<Times, Box<dyn Error>>
    where
        F: Fn() -> R + Clone + Send + 'static,
        R: Future<Output = Result<(), String>> + Send,
    {
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        let mut tasks = JoinSet::new();
        for _ in 0..self.at_once {
            let ask = ask.clone();
            tasks.spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let begun = Instant::now();
                    ask().await?;
                    times.push(begun.elapsed().as_secs_f32());
                }
                Ok::<_, String>(times)
            });
        }
        let mut times = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            times.extend(joined??);
        }
        Ok(Times::of(times))
    }
}

/// As the product's tools ask.
pub async fn with_stack(plan: Plan) -> Result<Times, Box<dyn Error>> {
    let addresses = AddressPolicy::Loopback;
    let outbound = Outbound::new(OutboundSettings {
        endpoint: PlatformUrl(plan.url.clone()).endpoint(true, addresses)?,
        ca_pem: None,
        addresses,
        proxy: None,
        name: "bench",
        classify: classify_by_status,
        client_certificate: None,
        limits: OutboundLimits { max_running: plan.at_once, ..OutboundLimits::default() },
        metrics: Arc::default(),
    })?;
    let token = SecretString::from("bench");
    plan.run(move || {
        let (outbound, token) = (outbound.clone(), token.clone());
        async move {
            let request = Request::new(Purpose::Look, Method::GET, PATH).query("list", &true);
            let request = request.credential(TOKEN, &token).map_err(|error| error.to_string())?;
            let deadline = tokio::time::Instant::now() + PATIENCE;
            let response = outbound.send(&request, deadline).await.map_err(|error| error.to_string())?;
            if response.status == 200 { Ok(()) } else { Err(response.status.to_string()) }
        }
    })
    .await
}

/// As the HTTP client alone does.
#[expect(clippy::disallowed_methods, reason = "what the stack adds to it is what is measured")]
pub async fn without_stack(plan: Plan) -> Result<Times, Box<dyn Error>> {
    let client = reqwest::Client::builder().user_agent(USER_AGENT).no_proxy().tcp_nodelay(true).build()?;
    let url = format!("{}/{}?list=true", plan.url, PATH.join("/"));
    let token = SecretString::from("bench");
    plan.run(move || {
        let request = client.get(&url).header(TOKEN, token.expose_secret()).timeout(PATIENCE);
        async move {
            let response = request.send().await.map_err(|error| error.to_string())?;
            let response = response.error_for_status().map_err(|error| error.to_string())?;
            response.bytes().await.map(drop).map_err(|error| error.to_string())
        }
    })
    .await
}
