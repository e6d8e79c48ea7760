//! `local`: reads the manifests, runs their connectors, follows the files, and shows how everything does until a signal
//! ends it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use tokio::time::MissedTickBehavior;

use super::{
    LocalError,
    documents::{Sources, Text, read_objects},
    door::{Access, Entrance},
    finding::{Finding, Level},
    fleet::{Fleet, FleetSettings},
    manifests::Manifests,
    schema::Schemas,
    serving::Keyring,
    table::Table,
    yaml::Place,
};
use common::errors::with_causes;
use files::DirectoryEvents;
use server::Stop;

/// Time between two looks at the connectors.
const LOOK: Duration = Duration::from_millis(250);
/// Time between two looks at files of whose change no event told.
const POLL: Duration = Duration::from_secs(5);

/// What is run.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Where the manifests are.
    pub sources: Sources,
    /// Where credentials may be.
    pub keyring: Keyring,
    /// Where all connectors are served.
    pub listen: SocketAddr,
    /// Who is let in.
    pub access: Access,
    /// Whether audit records are written, to standard error.
    pub audit: bool,
    /// Whether colors are left out.
    pub no_color: bool,
}

/// Manifests that are read again and again.
pub struct Following {
    sources: Sources,
    schemas: Schemas,
    stdin: Option<Arc<Text>>,
    digest: Option<Vec<u8>>,
    /// What is wrong with the documents as they are now.
    pub findings: Vec<Finding>,
}

impl Following {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// When the schemas can't be put together, which is a fault of this program.
    pub fn new(sources: Sources) -> Result<Self, LocalError> {
        let schemas = Schemas::new().map_err(LocalError::Schema)?;
        Ok(Self { sources, schemas, stdin: None, digest: None, findings: Vec::new() })
    }

    /// Reads the files, and brings the fleet into the form that they ask for; does nothing if they are as they were.
    ///
    /// # Errors
    /// When the files can't be read or hold nothing from the start, or a connector can't be configured.
    pub fn apply(&mut self, fleet: &mut Fleet) -> Result<(), LocalError> {
        let texts = self.sources.read(&mut self.stdin).map_err(LocalError::Read)?;
        let mut context = digest::Context::new(&digest::SHA256);
        for text in &texts {
            context.update(text.file.as_bytes());
            context.update(&[0]);
            context.update(text.text.as_bytes());
            context.update(&[0]);
        }
        let digest = context.finish().as_ref().to_vec();
        if self.digest.as_ref() == Some(&digest) {
            return Ok(());
        }
        let (objects, mut findings) = read_objects(&texts, &self.schemas, &self.sources.namespace);
        // Later, everything may be gone on purpose.
        if self.digest.is_none() && objects.is_empty() && findings.is_empty() {
            return Err(LocalError::NothingThere);
        }
        let (manifests, twice) = Manifests::collect(objects);
        findings.extend(twice);
        let found = fleet.apply(&manifests, &findings)?;
        findings.extend(found);
        findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.findings = findings;
        self.digest = Some(digest);
        Ok(())
    }
}

/// Runs connectors until `stop`.
///
/// # Errors
/// When it can't begin: the manifests can't be read, or the address can't be listened on.
pub async fn run(settings: RunSettings, stop: Stop) -> Result<(), LocalError> {
    let mut events: Vec<DirectoryEvents> =
        settings.sources.directories().iter().map(|directory| DirectoryEvents::watch(directory, POLL)).collect();
    let mut following = Following::new(settings.sources)?;
    let mut fleet = Fleet::new(FleetSettings {
        keyring: settings.keyring,
        inbound: settings.access.inbound(),
        audit: settings.audit,
    });
    let who = settings.access.to_string();
    let mut entrance = Entrance::open(settings.listen, settings.access, fleet.routes()).await?;
    let header = format!("mcp-connectors {} at http://{}: {who}", env!("CARGO_PKG_VERSION"), entrance.address);
    let mut table = Table::new(entrance.address, header, settings.no_color);
    following.apply(&mut fleet)?;
    let mut trouble: Option<Finding> = None;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.drain.cancelled() => break,
            () = changed(&mut events) => {
                // What runs goes on; a file may be half written.
                trouble = following.apply(&mut fleet).err().map(|error| {
                    Finding::about_file(Level::Error, "read", &"-".into(), Place::default(), with_causes(&error))
                });
            }
            _ = looks.tick() => {
                let views = fleet.observe().await;
                let findings: Vec<Finding> = following.findings.iter().chain(&trouble).cloned().collect();
                table.show(views, &findings).map_err(LocalError::Print)?;
            }
        }
    }
    eprintln!("draining; a second signal ends at once");
    let draining = async {
        entrance.close().await;
        fleet.drain().await;
    };
    tokio::select! {
        () = draining => {}
        () = stop.force.cancelled() => {}
    }
    entrance.abort();
    Ok(())
}

/// Waits until one of the directories may have changed.
async fn changed(events: &mut [DirectoryEvents]) {
    if events.is_empty() {
        return std::future::pending().await;
    }
    let waiting = events.iter_mut().map(|events| Box::pin(events.next()));
    futures::future::select_all(waiting).await;
}
