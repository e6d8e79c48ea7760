//! What a tool is: the contract between a platform, which writes tools, and the server, which guards and serves them.
//! Neither knows the other.

pub mod error;
pub mod page;
pub mod publish;
pub mod time;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

pub use error::{ErrorCode, Fate, ToolError};
pub use page::Page;

/// Reports of progress that wait to be sent, at most.
const PROGRESS_REPORTS: usize = 16;

/// What a tool does to the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Read,
    /// It adds or changes something in a way that can be undone.
    Mutate,
    /// It may lose something.
    Destroy,
}

/// A tool's own words about itself. Made by [`ToolDeclaration::read`], [`ToolDeclaration::mutate`] or
/// [`ToolDeclaration::destroy`], in a constant.
#[derive(Clone, Copy, Debug)]
pub struct ToolDeclaration {
    /// `<verb>_<platform>_<noun>`, such as `list_vault_secrets`. Without the prefix of a spec.
    pub name: &'static str,
    /// Short title for people.
    pub title: &'static str,
    /// What it does, for a model: first what it answers, then what to know.
    pub description: &'static str,
    /// What it does to the platform.
    pub effect: Effect,
    /// Whether doing it twice with the same arguments is doing it once.
    pub idempotent: bool,
    /// Offered only where `spec.tools.allow` holds its exact name.
    pub off_by_default: bool,
    /// Its answer may hold a platform's secret: never cached, logged or digested.
    pub sensitive: bool,
    /// How long an answer may be given again without asking the platform; never, if there is none.
    pub cached: Option<Duration>,
    /// Of a tool that is cached: whether only those answers are that it calls final ([`CallContext::answer_is_final`]).
    pub cached_if_final: bool,
    /// How long an answer about what goes on may be given to every caller without asking the platform; never, if there is none.
    pub shared: Option<Duration>,
    /// Made to be called again and again with the same arguments, as one that tells how far something is.
    pub polled: bool,
    /// Whether it asks the platform. One that doesn't is answered while there is no place for requests to the platform.
    pub asks_platform: bool,
}

impl ToolDeclaration {
    const fn new(name: &'static str, title: &'static str, description: &'static str, effect: Effect) -> Self {
        Self {
            name,
            title,
            description,
            effect,
            idempotent: matches!(effect, Effect::Read),
            off_by_default: false,
            sensitive: false,
            cached: None,
            cached_if_final: false,
            shared: None,
            polled: false,
            asks_platform: true,
        }
    }

    /// A tool that changes nothing.
    #[must_use]
    pub const fn read(name: &'static str, title: &'static str, description: &'static str) -> Self {
        Self::new(name, title, description, Effect::Read)
    }

    /// A tool that adds or changes something in a way that can be undone.
    #[must_use]
    pub const fn mutate(name: &'static str, title: &'static str, description: &'static str) -> Self {
        Self::new(name, title, description, Effect::Mutate)
    }

    /// A tool that may lose something.
    #[must_use]
    pub const fn destroy(name: &'static str, title: &'static str, description: &'static str) -> Self {
        Self::new(name, title, description, Effect::Destroy)
    }

    /// Doing it twice with the same arguments is doing it once. So it is with every tool that reads.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Offered only where `spec.tools.allow` holds its exact name.
    #[must_use]
    pub const fn off_by_default(mut self) -> Self {
        self.off_by_default = true;
        self
    }

    /// Its answer may hold a platform's secret.
    #[must_use]
    pub const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Its answers may be given again for this time. Only for tools that read and are not sensitive.
    #[must_use]
    pub const fn cached(mut self, age: Duration) -> Self {
        self.cached = Some(age);
        self
    }

    /// Its answers may be given again for this time if they are about something that changes no more, which the tool finds
    /// out with the answer and says by [`CallContext::answer_is_final`]. Only for tools that read and are not sensitive.
    #[must_use]
    pub const fn cached_if_final(mut self, age: Duration) -> Self {
        self.cached_if_final = true;
        self.cached(age)
    }

    /// Its answers are given to all callers for this short time, so that many who ask how far something is ask the platform as
    /// one. Only for tools that read and are not sensitive: an answer is the same for whoever may call the tool.
    #[must_use]
    pub const fn shared(mut self, age: Duration) -> Self {
        self.shared = Some(age);
        self
    }

    /// Made to be called again and again with the same arguments.
    #[must_use]
    pub const fn polled(mut self) -> Self {
        self.polled = true;
        self
    }

    /// Answered by the connector, without asking the platform.
    #[must_use]
    pub const fn without_platform(mut self) -> Self {
        self.asks_platform = false;
        self
    }
}

/// What a tool call has to go by.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// When the whole call ends. A tool passes it on with every wait and every request.
    pub deadline: Instant,
    /// Bytes that the answer may have. A tool cuts its answer to it and says so; the server refuses what is larger.
    pub max_result_bytes: usize,
    /// Where a tool that waits says how far it is.
    pub progress: Progress,
    /// Where a tool says that its answer is final.
    pub finality: Finality,
    /// Ends when the server is about to: a tool that waits then answers how far it has come.
    pub stopping: CancellationToken,
}

impl CallContext {
    /// A call that nobody wants to hear progress of.
    #[must_use]
    pub fn new(deadline: Instant, max_result_bytes: usize) -> Self {
        Self {
            deadline,
            max_result_bytes,
            progress: Progress::default(),
            finality: Finality::default(),
            stopping: CancellationToken::new(),
        }
    }

    /// Time that is left; zero when there is none.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Says that the same question would be answered the same way for good, as about a build that has ended.
    pub fn answer_is_final(&self) {
        self.finality.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a tool has called its answer final.
#[derive(Clone, Debug, Default)]
pub struct Finality(Arc<AtomicBool>);

impl Finality {
    /// Whether it has. Known when the answer is.
    #[must_use]
    pub fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far a call is, for a caller who wants to know. The default tells nobody.
#[derive(Clone, Default)]
pub struct Progress(Option<mpsc::Sender<ProgressReport>>);

/// How far a call is.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressReport {
    /// How much is done. It must grow from one report to the next.
    pub done: f64,
    /// How much there is to do, if that is known.
    pub total: Option<f64>,
    /// What is being done, in a few words. Never a platform's raw text.
    pub message: Option<String>,
}

impl Progress {
    /// Progress, and where its reports arrive.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<ProgressReport>) {
        let (sender, receiver) = mpsc::channel(PROGRESS_REPORTS);
        (Self(Some(sender)), receiver)
    }

    /// Whether somebody wants to know. Spares making reports that nobody reads.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Says how far the call is. A report for which a slow caller leaves no room is left out: the next one says more.
    pub fn report(&self, done: f64, total: Option<f64>, message: impl Into<String>) {
        if let Some(sender) = &self.0 {
            let _no_room = sender.try_send(ProgressReport { done, total, message: Some(message.into()) });
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Progress").field(&self.is_wanted()).finish()
    }
}

/// What a mutation would do, on the state that was just read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// One sentence: what it would do.
    pub would: String,
    /// The state it would do it to, as far as it matters. Never a secret's value: it is answered.
    pub state: Value,
}

type Handler<T> = Arc<dyn Fn(Value, CallContext) -> BoxFuture<'static, Result<T, ToolError>> + Send + Sync>;

/// How a tool is run. Dropping a returned future ends what it does to the platform.
#[derive(Clone)]
pub enum Behavior {
    /// It answers.
    Read(Handler<Value>),
    /// It says what it would do, and does it when told.
    Mutation {
        /// Reads the state and says what would be done. Changes nothing.
        preview: Handler<Preview>,
        /// Does it.
        act: Handler<Value>,
    },
}

/// A tool, as the server sees it.
#[derive(Clone)]
pub struct ToolEntry {
    /// The tool's own words about itself.
    pub declaration: ToolDeclaration,
    /// JSON Schema (2020-12) of its arguments, an object, with which calls are checked. Agents see what
    /// [`publish::arguments`] makes of it.
    pub input_schema: Arc<Map<String, Value>>,
    /// JSON Schema (2020-12) of its answer: an object. Agents see what [`publish::answer`] makes of it.
    pub output_schema: Arc<Map<String, Value>>,
    /// Whether agents see the schemas word for word, which not every client takes. The fixtures of conformance suites want
    /// it, which look whether a server keeps every word of JSON Schema.
    pub as_written: bool,
    /// How it is run.
    pub behavior: Behavior,
}

impl ToolEntry {
    /// A tool that reads.
    pub fn read<I, O, F, R>(declaration: ToolDeclaration, run: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + Send + 'static,
        F: Fn(I, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, ToolError>> + Send + 'static,
    {
        Self {
            declaration,
            input_schema: Arc::new(input_schema::<I>()),
            output_schema: Arc::new(output_schema::<O>()),
            as_written: false,
            behavior: Behavior::Read(answering(run)),
        }
    }

    /// A tool that changes something: `preview` says what it would do, `act` does it. The server adds `confirm` and
    /// `plan` to the arguments and wraps the answer.
    pub fn mutation<I, O, P, PR, A, AR>(declaration: ToolDeclaration, preview: P, act: A) -> Self
    where
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + Send + 'static,
        P: Fn(I, CallContext) -> PR + Send + Sync + 'static,
        PR: Future<Output = Result<Preview, ToolError>> + Send + 'static,
        A: Fn(I, CallContext) -> AR + Send + Sync + 'static,
        AR: Future<Output = Result<O, ToolError>> + Send + 'static,
    {
        let preview: Handler<Preview> = Arc::new(move |arguments, context| match parse(arguments) {
            Ok(input) => preview(input, context).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        });
        Self {
            declaration,
            input_schema: Arc::new(input_schema::<I>()),
            output_schema: Arc::new(output_schema::<O>()),
            as_written: false,
            behavior: Behavior::Mutation { preview, act: answering(act) },
        }
    }
}

/// A tool of a platform's client that reads.
pub fn read<C, I, O, R>(
    client: &Arc<C>,
    declaration: ToolDeclaration,
    run: impl Fn(Arc<C>, I, CallContext) -> R + Send + Sync + 'static,
) -> ToolEntry
where
    C: Send + Sync + 'static,
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + Send + 'static,
    R: Future<Output = Result<O, ToolError>> + Send + 'static,
{
    let client = Arc::clone(client);
    ToolEntry::read(declaration, move |input, context| run(Arc::clone(&client), input, context))
}

/// A tool of a platform's client that changes something; see [`ToolEntry::mutation`].
pub fn mutation<C, I, O, P, A>(
    client: &Arc<C>,
    declaration: ToolDeclaration,
    preview: impl Fn(Arc<C>, I, CallContext) -> P + Send + Sync + 'static,
    act: impl Fn(Arc<C>, I, CallContext) -> A + Send + Sync + 'static,
) -> ToolEntry
where
    C: Send + Sync + 'static,
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + Send + 'static,
    P: Future<Output = Result<Preview, ToolError>> + Send + 'static,
    A: Future<Output = Result<O, ToolError>> + Send + 'static,
{
    let (for_preview, for_act) = (Arc::clone(client), Arc::clone(client));
    ToolEntry::mutation(
        declaration,
        move |input, context| preview(Arc::clone(&for_preview), input, context),
        move |input, context| act(Arc::clone(&for_act), input, context),
    )
}

fn answering<I, O, F, R>(run: F) -> Handler<Value>
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: Fn(I, CallContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, ToolError>> + Send + 'static,
{
    Arc::new(move |arguments, context| match parse(arguments) {
        Ok(input) => {
            let answer = run(input, context);
            async move { serde_json::to_value(answer.await?).map_err(|_| ToolError::internal("the answer is not JSON")) }
                .boxed()
        }
        Err(error) => std::future::ready(Err(error)).boxed(),
    })
}

fn parse<I: DeserializeOwned>(arguments: Value) -> Result<I, ToolError> {
    // serde's own words may repeat a value, and a value may be a secret that is to be written.
    serde_json::from_value(arguments).map_err(|_| {
        ToolError::invalid_argument("the arguments do not have the form that this tool expects")
            .with_remedy("compare them with the tool's input schema")
    })
}

/// The arguments' schema: what a caller may send (fields with a default may be left out). It is closed here, so that a
/// misspelt argument is told and not dropped, and so that types of arguments may be flattened into each other.
fn input_schema<T: JsonSchema>() -> Map<String, Value> {
    let schema = SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>();
    let mut schema = object(schema);
    let composed = ["$ref", "allOf", "anyOf", "oneOf", "patternProperties", "unevaluatedProperties"];
    if !schema.contains_key("additionalProperties") && !composed.iter().any(|key| schema.contains_key(*key)) {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    schema
}

/// The answer's schema: what a caller gets.
fn output_schema<T: JsonSchema>() -> Map<String, Value> {
    object(SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>())
}

fn object(schema: schemars::Schema) -> Map<String, Value> {
    let mut schema = Value::from(schema);
    common::schema::visit(&mut schema, &mut common::schema::drop_unknown_format);
    let mut map = match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    map.remove("title");
    // The protocol wants an object; a tool without arguments has a unit struct, whose schema says so only vaguely.
    map.entry("type").or_insert_with(|| Value::String("object".into()));
    map
}
