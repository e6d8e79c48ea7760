//! Runs one platform's double: `platform-double jenkins --listen 127.0.0.1:18080`. What it can be told while it runs is in
//! `admin.rs`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, Parser, Subcommand};
use platform_doubles::{Credentials, Platform, admin, circleci, cloudwatch, faults::Control, jenkins, serving};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::TlsAcceptor;

/// A strict double of a platform, for tests and demos. It answers what the platform answers, and refuses what it refuses.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    platform: Wanted,
}

#[derive(Subcommand)]
enum Wanted {
    /// A Jenkins controller, below the path /jenkins. Accepts user=bot, api_token=planted-token, password=planted-password
    Jenkins(Common),
    /// CircleCI's cloud: API v3, v2, v1.1, and the host of its files. Accepts token=planted-token
    #[command(name = "circleci")]
    CircleCi {
        #[command(flatten)]
        common: Common,
        /// Where the host of files listens
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
        files_listen: SocketAddr,
        /// URL of the host of files, for links; by default that of --files-listen
        #[arg(long, value_name = "URL")]
        files_url: Option<String>,
    },
    /// CloudWatch, CloudWatch Logs and STS in eu-central-1. Accepts access_key_id=AKIAplanted00planted with any
    /// secret_access_key, because signatures are looked at and not calculated
    #[command(name = "cloudwatch")]
    CloudWatch(Common),
}

#[derive(Args)]
struct Common {
    /// Where the platform listens
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Where faults are asked for, without authentication; nowhere by default
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// URL of the platform, for links; by default that of --listen
    #[arg(long)]
    url: Option<String>,
    /// A certificate chain in PEM: serves HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Credentials to accept instead of those that are planted, such as api_token=a; once for each field
    #[arg(long, value_name = "FIELD=VALUE", value_parser = credential)]
    credential: Vec<(String, String)>,
}

fn credential(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("must be FIELD=VALUE")?;
    Ok((field.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().platform).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A listener, and the URL of what listens there.
async fn bind(address: SocketAddr, common: &Common, url: Option<&String>) -> Result<(TcpListener, String), String> {
    let listener = TcpListener::bind(address).await.map_err(|error| format!("can't listen at {address}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let scheme = if common.tls_cert.is_some() { "https" } else { "http" };
    Ok((listener, url.cloned().unwrap_or_else(|| format!("{scheme}://{address}"))))
}

async fn run(wanted: Wanted) -> Result<(), String> {
    match &wanted {
        Wanted::Jenkins(common) => {
            let (listener, url) = bind(common.listen, common, common.url.as_ref()).await?;
            begin(common, &format!("{url}/jenkins"), listener, Arc::new(jenkins::world()), None).await
        }
        Wanted::CircleCi { common, files_listen, files_url } => {
            let (listener, url) = bind(common.listen, common, common.url.as_ref()).await?;
            let (files, files_url) = bind(*files_listen, common, files_url.as_ref()).await?;
            let world = Arc::new(circleci::world(&url, &files_url));
            let router = circleci::files(&world);
            begin(common, &url, listener, world, Some((files, router))).await
        }
        Wanted::CloudWatch(common) => {
            let (listener, url) = bind(common.listen, common, common.url.as_ref()).await?;
            begin(common, &url, listener, Arc::new(cloudwatch::world()), None).await
        }
    }
}

/// Serves until the program is told to end.
async fn begin(
    common: &Common,
    url: &str,
    listener: TcpListener,
    platform: Arc<dyn Platform>,
    files: Option<(TcpListener, axum::Router)>,
) -> Result<(), String> {
    let tls: Option<TlsAcceptor> = match (&common.tls_cert, &common.tls_key) {
        (Some(certificates), Some(key)) => Some(serving::tls(certificates, key)?),
        _ => None,
    };
    let given: Credentials = common.credential.iter().cloned().collect();
    let credentials = if given.is_empty() { platform.default_credentials() } else { given };
    let router = Arc::clone(&platform).router();
    let control = Arc::new(Control::new(platform, credentials)?);
    if let Some((files, router)) = files {
        tokio::spawn(serving::serve(files, tls.clone(), router, Arc::clone(&control)));
    }
    if let Some(address) = common.admin {
        let admin = TcpListener::bind(address).await.map_err(|error| format!("can't listen at {address}: {error}"))?;
        let address = admin.local_addr().map_err(|error| error.to_string())?;
        let router = admin::router(Arc::clone(&control));
        tokio::spawn(async move { axum::serve(admin, router).await });
        println!("faults at http://{address}/fault");
    }
    println!("the platform at {url}");
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::select! {
        () = serving::serve(listener, tls, router, control) => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}
