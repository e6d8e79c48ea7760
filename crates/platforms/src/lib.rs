//! The platforms that there are: one crate each, and one row of `PLATFORMS`.

use std::sync::Arc;

use api::platform::PlatformSpec;
use kit::{Connect, ConnectError, Platform, PlatformEnvironment};

/// Each platform's name in `spec.platform`, and what makes its client.
const PLATFORMS: &[(&str, Connect)] = &[
    ("argoCd", argocd::connect),
    ("circleCi", circleci::connect),
    ("cloudWatch", cloudwatch::connect),
    ("jenkins", jenkins::connect),
    ("vault", vault::connect),
];

/// Makes the client of the platform that the spec names. It makes no connection: a platform that is down is a finding of
/// the probe, and no reason not to serve.
///
/// # Errors
/// When the spec or the CA bundle can't be used.
pub fn connect(spec: &PlatformSpec, environment: PlatformEnvironment) -> Result<Arc<dyn Platform>, ConnectError> {
    let name = spec.declaration().ok_or(ConnectError::NoPlatform)?.name();
    let (_, connect) = PLATFORMS.iter().find(|(of, _)| *of == name).ok_or(ConnectError::NoPlatform)?;
    connect(spec, environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_that_a_manifest_may_name_has_a_client() {
        let named = api::platform::examples().into_iter().map(|(name, _)| name);
        assert!(named.eq(PLATFORMS.iter().map(|(name, _)| *name)));
    }
}
