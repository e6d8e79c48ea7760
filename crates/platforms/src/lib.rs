//! The platforms that there are: one crate each, and one line in [`connect`].

use std::sync::Arc;

use api::platform::PlatformSpec;
use kit::{ConnectError, Platform, PlatformEnvironment};

/// Makes the client of the platform that the spec names. It makes no connection: a platform that is down is a finding of
/// the probe, and no reason not to serve.
///
/// # Errors
/// When the spec or the CA bundle can't be used.
pub fn connect(spec: &PlatformSpec, environment: PlatformEnvironment) -> Result<Arc<dyn Platform>, ConnectError> {
    if spec.declaration().is_none() {
        return Err(ConnectError::NoPlatform);
    }
    let PlatformSpec { argo_cd, circle_ci, cloud_watch, jenkins, vault } = spec;
    if let Some(spec) = argo_cd {
        return Ok(Arc::new(argocd::ArgoCd::connect(spec, environment)?));
    }
    if let Some(spec) = circle_ci {
        return Ok(Arc::new(circleci::CircleCi::connect(spec, environment)?));
    }
    if let Some(spec) = cloud_watch {
        return Ok(Arc::new(cloudwatch::CloudWatch::connect(spec, environment)?));
    }
    if let Some(spec) = jenkins {
        return Ok(Arc::new(jenkins::Jenkins::connect(spec, environment)?));
    }
    if let Some(spec) = vault {
        return Ok(Arc::new(vault::Vault::connect(spec, environment)?));
    }
    Err(ConnectError::NoPlatform)
}
