//! Where AWS has its services: the host of each one in a region, by the partition that the region is part of. AWS' SDKs know
//! as much, and a test of the platform holds every name against theirs; it is said here because a contract that needs them
//! would bring them to everybody who reads a manifest.

use super::Service;

/// Regions of AWS that have domains of their own.
struct Partition {
    /// What the names of its regions begin with; a place and a number follow.
    prefix: &'static str,
    domain: &'static str,
    /// The domain of endpoints with IPv6 addresses.
    dual_stack: &'static str,
}

/// The partition of all regions that are part of no other.
const COMMERCIAL: Partition = Partition { prefix: "", domain: "amazonaws.com", dual_stack: "api.aws" };
const GOV_CLOUD: &str = "us-gov-";
const OTHERS: [Partition; 7] = [
    Partition { prefix: "cn-", domain: "amazonaws.com.cn", dual_stack: "api.amazonwebservices.com.cn" },
    Partition { prefix: "eusc-de-", domain: "amazonaws.eu", dual_stack: "api.amazonwebservices.eu" },
    Partition { prefix: "us-iso-", domain: "c2s.ic.gov", dual_stack: "api.aws.ic.gov" },
    Partition { prefix: "us-isob-", domain: "sc2s.sgov.gov", dual_stack: "api.aws.scloud" },
    Partition { prefix: "eu-isoe-", domain: "cloud.adc-e.uk", dual_stack: "api.cloud-aws.adc-e.uk" },
    Partition { prefix: "us-isof-", domain: "csp.hci.ic.gov", dual_stack: "api.aws.hci.ic.gov" },
    Partition { prefix: GOV_CLOUD, domain: "amazonaws.com", dual_stack: "api.aws" },
];

impl Partition {
    fn of(region: &str) -> &'static Self {
        let is_part = |partition: &&Self| {
            let place = region.strip_prefix(partition.prefix).and_then(|rest| rest.split_once('-'));
            place.is_some_and(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        OTHERS.iter().find(is_part).unwrap_or(&COMMERCIAL)
    }
}

/// The host of a service in a region: the one of FIPS, if asked for, and the one with IPv6 addresses.
pub(super) fn host(service: Service, region: &str, fips: bool, dual_stack: bool) -> String {
    let partition = Partition::of(region);
    let name = match service {
        Service::Monitoring => "monitoring",
        Service::Logs => "logs",
        Service::Sts => "sts",
    };
    let suffix = if fips && !is_always_fips(service, region, partition, dual_stack) { "-fips" } else { "" };
    let domain = if dual_stack { partition.dual_stack } else { partition.domain };
    format!("{name}{suffix}.{region}.{domain}")
}

/// Whether the usual endpoint is the one of FIPS, as it may be in GovCloud.
fn is_always_fips(service: Service, region: &str, partition: &Partition, dual_stack: bool) -> bool {
    let in_gov_cloud = partition.prefix == GOV_CLOUD;
    match service {
        Service::Monitoring => in_gov_cloud,
        Service::Logs => !dual_stack && matches!(region, "us-gov-east-1" | "us-gov-west-1"),
        Service::Sts => !dual_stack && in_gov_cloud,
    }
}
