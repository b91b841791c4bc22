//! A Kafka broker.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::net::{free_port, localhost};
use crate::process::{Process, is_a_process};
use crate::tools::{kafka_libraries, python_with_clients, workspace_dir};

/// The user that the listeners with a login accept, with PLAIN and SCRAM.
pub const KAFKA_USER: &str = "rigline";
/// The password of [`KAFKA_USER`].
pub const KAFKA_PASSWORD: &str = "password-of-the-kafka-tests";

/// The name of the broker's certificate.
const CERTIFICATE: &str = "kafka";

/// A Kafka broker, which is its own controller.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    plan: Plan,
    /// Removes the directory; the shared broker's is removed by its shell.
    _home: Option<TempDir>,
}

is_a_process!(Kafka);

/// The settings of every start.
#[derive(Debug)]
struct Plan {
    dir: PathBuf,
    port: u16,
    controller: u16,
    /// A second listener and the port that it names to clients, which is that of a proxy.
    proxied: Option<(u16, u16)>,
    secured: Option<Secured>,
}

/// Listeners with a login.
#[derive(Debug)]
struct Secured {
    /// Without TLS.
    sasl: u16,
    /// With TLS.
    sasl_tls: u16,
    /// The certificate and its key, in PEM, as a line of a Java properties file.
    certificate: String,
    key: String,
}

impl Kafka {
    /// Starts a broker without a login.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(None, None)
    }

    /// Starts a broker that has a second listener on `port`, and tells clients who come through it to connect
    /// to the port `advertised`: that of a [`TcpProxy`](crate::TcpProxy) whose target is `port`.
    #[must_use]
    pub fn start_behind(port: u16, advertised: u16) -> Self {
        Self::start_as(Some((port, advertised)), None)
    }

    /// Starts a broker that also has listeners with a login, one of them with TLS.
    #[must_use]
    pub fn start_secured(certificates: &Certificates) -> Self {
        certificates.issue(CERTIFICATE, &["localhost", "127.0.0.1"]);
        let one_line = |path: PathBuf| {
            let text = fs::read_to_string(path).expect("a certificate or a key");
            text.trim().replace('\n', "\\n")
        };
        let secured = Secured {
            sasl: free_port(),
            sasl_tls: free_port(),
            certificate: one_line(certificates.certificate(CERTIFICATE)),
            key: one_line(certificates.key(CERTIFICATE)),
        };
        Self::start_as(None, Some(secured))
    }

    /// A broker for all tests of a process, which use separate topics. It ends with the process.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| {
            let home = TempDir::with_prefix("kafka-").expect("a temporary directory");
            let plan = Plan::new(home.keep(), None, None);
            plan.format();
            let log = plan.dir.join("log");
            let process = Process::spawn_until_exit(&plan.command(), &log, &plan.dir);
            Self::ready(process, plan, None)
        })
    }

    fn start_as(proxied: Option<(u16, u16)>, secured: Option<Secured>) -> Self {
        let home = TempDir::with_prefix("kafka-").expect("a temporary directory");
        let plan = Plan::new(home.path().to_owned(), proxied, secured);
        plan.format();
        let process = plan.launch();
        Self::ready(process, plan, Some(home))
    }

    fn ready(process: Process, plan: Plan, home: Option<TempDir>) -> Self {
        let mut broker = Self {
            process,
            plan,
            _home: home,
        };
        broker.wait_until_ready();
        broker
    }

    /// The port on 127.0.0.1 of the listener without a login; it stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.plan.port
    }

    /// The port of the listener with a login and without TLS. Panics unless the broker is secured.
    #[must_use]
    pub fn sasl_port(&self) -> u16 {
        self.plan.secured.as_ref().expect("a secured broker").sasl
    }

    /// The port of the listener with a login and TLS. Panics unless the broker is secured.
    #[must_use]
    pub fn sasl_tls_port(&self) -> u16 {
        let secured = self.plan.secured.as_ref();
        secured.expect("a secured broker").sasl_tls
    }

    /// Stops it if it runs, and starts it again with its data.
    pub fn restart(&mut self) {
        self.restart_without_waiting();
        self.wait_until_ready();
    }

    /// As [`restart`](Self::restart), without waiting until it answers.
    pub fn restart_without_waiting(&mut self) {
        if !self.has_exited() {
            self.stop();
        }
        self.process = self.plan.launch();
    }

    /// Waits until all its listeners accept connections.
    pub fn wait_until_ready(&mut self) {
        let secured = self.plan.secured.as_ref();
        let logins = secured.map(|secured| [secured.sasl, secured.sasl_tls]);
        let proxied = self.plan.proxied.map(|(port, _)| port);
        let ports = [self.plan.port].into_iter().chain(proxied);
        let ports: Vec<_> = ports.chain(logins.into_iter().flatten()).collect();
        let ready = self.process.wait_for("kafka", || {
            let mut ports = ports.iter();
            ports.all(|port| std::net::TcpStream::connect(localhost(*port)).is_ok())
        });
        ready.expect("a Kafka");
    }

    /// Creates a topic with this many partitions, in the place of one that was deleted.
    pub fn create_topic(&self, topic: &str, partitions: u32) {
        self.create_topic_with(topic, partitions, &[]);
    }

    /// As [`create_topic`](Self::create_topic), with settings: `name=value`.
    pub fn create_topic_with(&self, topic: &str, partitions: u32, settings: &[&str]) {
        let partitions = partitions.to_string();
        let _ = self.client(&[&["create", topic, &partitions], settings].concat(), "");
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, topic: &str) {
        let _ = self.client(&["delete", topic], "");
    }

    /// Produces records and waits until they are acknowledged: JSON objects with `value`, and if wanted `key`,
    /// `partition`, `headers`, and `base64` for a value in base64.
    pub fn produce(&self, topic: &str, records: &[Value]) {
        let _ = self.client(&["produce", topic], &lines(records));
    }

    /// As [`produce`](Self::produce), in one transaction that is committed or aborted.
    pub fn produce_in_transaction(&self, topic: &str, records: &[Value], commit: bool) {
        let end = if commit { "commit" } else { "abort" };
        let _ = self.client(&["produce", topic, end], &lines(records));
    }

    /// Deletes the records of a partition before this offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let (partition, before) = (partition.to_string(), before.to_string());
        let _ = self.client(&["trim", topic, &partition, &before], "");
    }

    /// The offsets that a group has committed, by partition; -1001 is none.
    #[must_use]
    pub fn group_offsets(&self, group: &str, topic: &str) -> Value {
        let text = self.client(&["offsets", group, topic], "");
        serde_json::from_str(&text).expect("JSON")
    }

    /// All committed records of a topic: JSON objects with `partition`, `offset`, `key`, and `value` in base64.
    #[must_use]
    pub fn consume(&self, topic: &str) -> Vec<Value> {
        let text = self.client(&["consume", topic], "");
        let records = text.lines().map(serde_json::from_str);
        records.collect::<Result<_, _>>().expect("JSON")
    }

    /// Runs the other client, and returns its output.
    fn client(&self, arguments: &[&str], input: &str) -> String {
        let script = workspace_dir().join("tests/servers/kafka/client.py");
        let mut command = python_with_clients();
        command
            .arg(script)
            .arg(format!("127.0.0.1:{}", self.plan.port));
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = command.spawn().expect("python3");
        let mut standard_input = run.stdin.take().expect("its input");
        standard_input
            .write_all(input.as_bytes())
            .expect("it reads");
        drop(standard_input);
        let ended = run.wait_with_output().expect("its end");
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(ended.stdout).expect("UTF-8")
    }
}

fn lines(records: &[Value]) -> String {
    let lines: Vec<_> = records.iter().map(Value::to_string).collect();
    lines.join("\n")
}

impl Plan {
    fn new(dir: PathBuf, proxied: Option<(u16, u16)>, secured: Option<Secured>) -> Self {
        let plan = Self {
            dir,
            port: free_port(),
            controller: free_port(),
            proxied,
            secured,
        };
        fs::write(plan.properties_file(), plan.properties()).expect("a file of properties");
        plan
    }

    fn properties_file(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    fn properties(&self) -> String {
        let (port, controller) = (self.port, self.controller);
        let mut listeners = vec![
            format!("PLAINTEXT://127.0.0.1:{port}"),
            format!("CONTROLLER://127.0.0.1:{controller}"),
        ];
        let mut advertised = vec![format!("PLAINTEXT://127.0.0.1:{port}")];
        let mut protocols = vec!["CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()];
        let mut more = String::new();
        if let Some((listens, is_at)) = self.proxied {
            listeners.push(format!("PROXIED://127.0.0.1:{listens}"));
            advertised.push(format!("PROXIED://127.0.0.1:{is_at}"));
            protocols.push("PROXIED:PLAINTEXT".to_owned());
        }
        if let Some(secured) = &self.secured {
            let both = [
                ("sasl", "SASL_PLAINTEXT", secured.sasl),
                ("sasltls", "SASL_SSL", secured.sasl_tls),
            ];
            for (name, protocol, port) in both {
                let listener = format!("{}://127.0.0.1:{port}", name.to_uppercase());
                advertised.push(listener.clone());
                listeners.push(listener);
                protocols.push(format!("{}:{protocol}", name.to_uppercase()));
                more += &login_properties(name);
            }
            more += "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\nssl.keystore.type=PEM\n";
            more += &[
                "ssl.keystore.certificate.chain=",
                &secured.certificate,
                "\n",
            ]
            .concat();
            more += &["ssl.keystore.key=", &secured.key, "\n"].concat();
        }
        format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             listeners={}\nadvertised.listeners={}\nlistener.security.protocol.map={}\n\
             log.dirs={}\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nlog.flush.interval.messages=1\n{more}",
            listeners.join(","),
            advertised.join(","),
            protocols.join(","),
            self.dir.join("data").display(),
        )
    }

    /// Prepares its directory. A killed broker finds what it had acknowledged there.
    fn format(&self) {
        let mut command = java("kafka.tools.StorageTool");
        command.args(["format", "-t", "Umlnb2xpbmVUZXN0c0tmaw", "-c"]);
        command.arg(self.properties_file());
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            if self.secured.is_some() {
                let user = format!("[name={KAFKA_USER},password={KAFKA_PASSWORD}]");
                command.args(["--add-scram", &format!("{mechanism}={user}")]);
            }
        }
        let run = command.current_dir(&self.dir).output().expect("java");
        assert!(run.status.success(), "kafka.tools.StorageTool: {run:?}");
    }

    fn command(&self) -> Command {
        let mut command = java("kafka.Kafka");
        command.arg(self.properties_file());
        command
    }

    fn launch(&self) -> Process {
        let mut command = self.command();
        command.current_dir(&self.dir);
        Process::spawn(command, &self.dir.join("log"))
    }
}

/// The logins of a listener, by the lower-case name that properties have.
fn login_properties(listener: &str) -> String {
    let plain = format!(
        "listener.name.{listener}.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_{KAFKA_USER}=\"{KAFKA_PASSWORD}\";\n"
    );
    let scram = |mechanism: &str| {
        format!(
            "listener.name.{listener}.{mechanism}.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n"
        )
    };
    plain + &scram("scram-sha-256") + &scram("scram-sha-512")
}

/// A command that runs a class of Kafka with little memory and a quick start.
fn java(class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-cp")
        .arg(classes(&kafka_libraries()))
        .arg(class);
    command
}

fn classes(libraries: &Path) -> PathBuf {
    // Java expands the star itself.
    libraries.join("*")
}
