//! The hosts that the contract names are those that AWS' SDKs would call.

use aws_sdk_cloudwatch::config::endpoint::ResolveEndpoint as _;
use aws_sdk_cloudwatchlogs::config::endpoint::ResolveEndpoint as _;
use aws_sdk_sts::config::endpoint::ResolveEndpoint as _;
use futures::FutureExt;

use api::{
    endpoint::AddressPolicy,
    platform::cloudwatch::{CloudWatchSpec, Service, example},
};

/// The SDK's own answer, which needs no IO.
fn resolved(service: Service, region: &str, fips: bool, dual_stack: bool) -> String {
    /// The three services have the same builder, of three types.
    macro_rules! resolve {
        ($sdk:ident) => {{
            use $sdk::config::endpoint::{DefaultResolver, Params};
            let params = Params::builder().region(region).use_fips(fips).use_dual_stack(dual_stack).build().unwrap();
            DefaultResolver::new().resolve_endpoint(&params).now_or_never().unwrap().unwrap().url().to_owned()
        }};
    }
    match service {
        Service::Monitoring => resolve!(aws_sdk_cloudwatch),
        Service::Logs => resolve!(aws_sdk_cloudwatchlogs),
        Service::Sts => resolve!(aws_sdk_sts),
    }
}

/// Names of the form that a manifest may have: regions that there are, and such as may come in any partition, or look as if.
fn regions() -> Vec<String> {
    let areas = ["af", "ap", "ca", "cn", "eu", "eusc", "il", "me", "mx", "sa", "us", "xx"];
    let isolated = ('a'..='z').map(|letter| format!("-iso{letter}"));
    let parts: Vec<_> =
        ["", "-gov", "-iso", "-de", "-fr", "-gov-de"].map(str::to_owned).into_iter().chain(isolated).collect();
    let places = ["-1", "-east-1", "-west-1", "-northwest-12"];
    let of_area = |area| parts.iter().flat_map(move |part| places.map(|place| format!("{area}{part}{place}")));
    areas.iter().flat_map(of_area).collect()
}

#[test]
fn each_service_is_where_the_sdk_calls_it() {
    let mut spec: CloudWatchSpec = example().platform.cloud_watch.unwrap();
    for region in regions() {
        for (fips, dual_stack) in [(false, false), (false, true), (true, false), (true, true)] {
            (spec.region, spec.fips, spec.dual_stack) = (region.clone(), Some(fips), Some(dual_stack));
            for service in [Service::Monitoring, Service::Logs, Service::Sts] {
                let endpoint = spec.service(service, AddressPolicy::Cluster).unwrap();
                let url = resolved(service, &region, fips, dual_stack);
                assert_eq!(endpoint.url.as_str().trim_end_matches('/'), url);
            }
        }
    }
}
