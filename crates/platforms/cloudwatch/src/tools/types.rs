//! Types of alarms that AWS lets nobody read, or does not have. Every tool about alarms asks for all types; where one of them is
//! refused, the others are still worth telling, and that one is missing is said.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_cloudwatch::types::AlarmType;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::Instant;

use super::Manner;
use crate::{
    CloudWatch,
    error::{Error, Failure, Mistake},
};

/// Describing alarms without a type leaves out all but those on metrics.
const ALL: [AlarmType; 3] = [AlarmType::MetricAlarm, AlarmType::CompositeAlarm, AlarmType::LogAlarm];
/// Time for which it is remembered that a type is refused: permissions change, and endpoints learn.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Which types are asked for.
#[derive(Clone, Debug)]
pub(crate) enum AlarmsAsked {
    /// All.
    All,
    /// These.
    These(Vec<AlarmType>),
}

/// Types that were asked for and are not in the answer, because AWS refuses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// Composite alarms: the identity may not read them. AWS wants the permission on all resources for them.
    pub(crate) composite: bool,
    /// Alarms on logs: the endpoint doesn't know the type.
    pub(crate) log: bool,
}

impl Unseen {
    /// What is said of it.
    pub(super) fn hints(self) -> impl Iterator<Item = String> {
        let composite = self.composite.then_some(
            "composite alarms are not told: the identity lacks the permission for them, which AWS wants on all resources (*)",
        );
        let log = self.log.then_some("alarms on logs are not told: this endpoint does not know the type");
        composite.into_iter().chain(log).map(str::to_owned)
    }

    fn holds(self, type_: &AlarmType) -> bool {
        match type_ {
            AlarmType::CompositeAlarm => self.composite,
            AlarmType::LogAlarm => self.log,
            _ => false,
        }
    }
}

/// What is remembered of types that AWS refused.
#[derive(Debug, Default)]
pub(crate) struct Withheld(Mutex<Option<(Unseen, Instant)>>);

impl Withheld {
    fn now(&self) -> Unseen {
        let held = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.filter(|(_, since)| since.elapsed() < REMEMBERED).map(|(unseen, _)| unseen).unwrap_or_default()
    }

    fn remember(&self, unseen: Unseen) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((unseen, Instant::now()));
    }
}

impl CloudWatch {
    /// Asks for alarms, or what belongs to them, of all types that are wanted; of fewer, where AWS refuses one.
    ///
    /// # Errors
    /// What AWS has against the first request, when fewer types don't help.
    pub(crate) async fn ask_of_types<T, E, R>(
        &self,
        manner: Manner,
        asked: AlarmsAsked,
        send: impl Fn(Vec<AlarmType>) -> R,
    ) -> Result<(T, Unseen), Failure>
    where
        R: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let wanted = match asked {
            AlarmsAsked::All => ALL.to_vec(),
            AlarmsAsked::These(types) => types,
        };
        let known = self.withheld.now();
        let mut types: Vec<AlarmType> = wanted.iter().filter(|type_| !known.holds(type_)).cloned().collect();
        if types.is_empty() {
            types.clone_from(&wanted);
        }
        let mut unseen = unseen_of(&wanted, &types);
        let mut first: Option<Failure> = None;
        loop {
            let failure = match self.session.call(manner, || send(types.clone())).await {
                Ok(answer) => {
                    if first.is_some() {
                        self.withheld.remember(Unseen {
                            composite: known.composite || unseen.composite,
                            log: known.log || unseen.log,
                        });
                    }
                    return Ok((answer, unseen));
                }
                Err(failure) => failure,
            };
            let without = match failure.error {
                Error::Denied => AlarmType::CompositeAlarm,
                Error::BadRequest(Mistake::Unknown | Mistake::AlarmType) => AlarmType::LogAlarm,
                _ => return Err(first.unwrap_or(failure)),
            };
            let fewer: Vec<AlarmType> = types.iter().filter(|type_| **type_ != without).cloned().collect();
            if fewer.is_empty() || fewer.len() == types.len() {
                return Err(first.unwrap_or(failure));
            }
            types = fewer;
            unseen = unseen_of(&wanted, &types);
            first.get_or_insert(failure);
        }
    }
}

fn unseen_of(wanted: &[AlarmType], asked: &[AlarmType]) -> Unseen {
    let is_left_out = |type_: &AlarmType| wanted.contains(type_) && !asked.contains(type_);
    Unseen { composite: is_left_out(&AlarmType::CompositeAlarm), log: is_left_out(&AlarmType::LogAlarm) }
}
