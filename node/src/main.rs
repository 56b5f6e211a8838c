//! The `kanon` program: one node of a federation, a demo of four, and the small tools around them.
//!
//! ```text
//! main ─► demo   writes four configurations, starts four `kanon serve`, waits until all answer
//!      ├► serve  engine::Node + pg-frontend + flight-server in one process
//!      ├► init   a configuration, keys and a first admin
//!      ├► sql    a small client
//!      ├► role   roles, tokens and API keys, at a running node
//!      ├► node   invites, peers: at a running node
//!      ├► audit  checks and exports the audit log
//!      ├► backup, restore   store and keys in one sealed file
//!      └► doctor what works here, and what to do about what does not
//! ```

mod audit;
mod backup;
mod client;
mod demo;
mod doctor;
mod init;
mod peers;
mod role;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  kanon demo                                  four nodes on real data, and a psql line to paste
  kanon demo --check                          the same, asks its questions, stops
  kanon init --dir clinic --node-id clinic    a node of your own: configuration, keys, an admin
  kanon serve --config clinic/kanon.toml      runs it
  kanon sql --config clinic/kanon.toml --user root -c 'SELECT * FROM kanon.nodes'
  kanon role api-key grafana --for dashboards a key for a service, shown once
  kanon node invite                           a token with which another node becomes a peer, once
  kanon node accept TOKEN                     becomes a peer of the node that made it
  kanon node list                             this node and its peers
  kanon node remove zurich                    is no peer of zurich any more
  kanon audit verify                          whether the audit log is as it was written
  kanon backup --config clinic/kanon.toml --to clinic.kanon --key-file backup.key
                                              store and keys in one sealed file, while the node runs
  kanon restore --from clinic.kanon --dir clinic2 --key-file backup.key
  kanon doctor --config clinic/kanon.toml     what works here, and what to do about what does not";

/// A SQL-first federated query engine for data that may not leave its institution.
#[derive(Parser)]
#[command(name = "kanon", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a federation of four nodes on this machine, on real data
    Demo(DemoArgs),
    /// Runs a node
    Serve(ServeArgs),
    /// Writes a configuration and keys and creates a first admin: ready to serve
    Init(InitArgs),
    /// A small built-in client; psql is better
    Sql(SqlArgs),
    /// Creates roles, and tokens and API keys of theirs
    Role(RoleArgs),
    /// Invites, accepts, lists and removes peers
    Node(NodeArgs),
    /// Checks and exports the audit log
    Audit(AuditArgs),
    /// Writes store, keys and configuration into one sealed file; the node may be running
    Backup(BackupArgs),
    /// Puts a backup into a folder without a node
    Restore(RestoreArgs),
    /// Says what works here, what does not, and what to do about it
    Doctor(DoctorArgs),
}

/// Arguments of `kanon demo`.
#[derive(Args, Clone)]
pub(crate) struct DemoArgs {
    /// Where the nodes keep their data
    #[arg(long, default_value = "kanon-demo")]
    pub dir: PathBuf,
    /// Postgres ports are this and the three after it; Flight SQL ten above
    #[arg(long, default_value_t = 15432)]
    pub base_port: u16,
    /// Synthetic patients at every node
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub patients: u32,
    /// Asks the demo's questions at every node, prints the answers and stops
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `kanon serve`.
#[derive(Args, Clone)]
pub(crate) struct ServeArgs {
    /// The node's configuration
    #[arg(long, default_value = "kanon.toml")]
    pub config: PathBuf,
    /// Sets up the demo's tables and roles first, with so many synthetic patients
    #[arg(long, hide = true)]
    pub demo_patients: Option<u32>,
}

/// Arguments of `kanon init`.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// Where the configuration, keys and store go
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// The node's id: its schema's name at its peers
    #[arg(long)]
    pub node_id: String,
    /// The first admin's name
    #[arg(long, default_value = "root")]
    pub admin: String,
    /// A file with the first admin's password; without it one is made and shown once
    #[arg(long)]
    pub password_file: Option<PathBuf>,
    /// The Postgres port, on loopback
    #[arg(long, default_value_t = 5433)]
    pub pg_port: u16,
    /// The Flight SQL port, on loopback
    #[arg(long, default_value_t = 5443)]
    pub flight_port: u16,
}

/// Which running node, and who asks it.
#[derive(Args)]
pub(crate) struct ConnectArgs {
    /// The node's configuration, for its address
    #[arg(long, default_value = "kanon.toml")]
    pub config: PathBuf,
    /// host:port instead of a configuration
    #[arg(long)]
    pub connect: Option<String>,
    /// With --connect: the authority of the node's TLS certificate, PEM; needed beyond loopback
    #[arg(long, requires = "connect", value_name = "FILE")]
    pub root_cert: Option<PathBuf>,
    /// Who asks; the password is read from the environment, PGPASSWORD
    #[arg(long, default_value = "root")]
    pub user: String,
}

/// Arguments of `kanon role`.
#[derive(Args)]
pub(crate) struct RoleArgs {
    #[command(subcommand)]
    pub command: RoleCommand,
}

/// What `kanon role` does, at a running node.
#[derive(Subcommand)]
pub(crate) enum RoleCommand {
    /// Creates a role that may log in
    Create {
        /// Its name
        name: String,
        /// What it is granted: analyst, steward, auditor, operator, admin, or another role
        #[arg(long = "in-role", value_name = "ROLE")]
        in_role: Vec<String>,
        /// A file with its password; without it one is made and shown once
        #[arg(long)]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Prints a token of a role, for user "token" or as a bearer
    Token {
        /// The role
        name: String,
        /// How long it is valid, such as "8 hours"; a day at most
        #[arg(long)]
        ttl: Option<String>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Makes an API key of a role for a service, and prints it: it is shown only then
    ApiKey {
        /// The role
        name: String,
        /// What the key is for, as kanon.api_keys lists it
        #[arg(long = "for", value_name = "SERVICE")]
        service: String,
        /// How long it is valid, such as "30 days"; 90 days unless told, a year at most
        #[arg(long)]
        ttl: Option<String>,
        /// Where it is taken: pg, flight, http; everywhere unless told
        #[arg(long, value_delimiter = ',')]
        scopes: Vec<String>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

/// Arguments of `kanon node`.
#[derive(Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub command: NodeCommand,
}

/// What `kanon node` does, at a running node.
#[derive(Subcommand)]
pub(crate) enum NodeCommand {
    /// Prints a token with which one other node can become a peer
    Invite {
        /// How long it is good for, such as "2 hours"; a day unless told, a week at most
        #[arg(long)]
        valid_for: Option<String>,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Becomes a peer of the node that made a token
    Accept {
        /// The token
        token: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Lists the node and its peers
    List {
        /// As JSON lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Takes a peer's pin away; one of the configuration is taken out there
    Remove {
        /// The peer's id
        id: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

/// Arguments of `kanon sql`.
#[derive(Args)]
pub(crate) struct SqlArgs {
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// The query; without it, standard input
    #[arg(short = 'c', long = "command")]
    pub query: Option<String>,
    /// The answer as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `kanon audit`.
#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What `kanon audit` does. The store is only read: the node may be running.
#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Says whether the log is as it was written; exit code 1 if it is not
    Verify {
        /// The node's configuration
        #[arg(long, default_value = "kanon.toml")]
        config: PathBuf,
        /// Files with checkpoints of this node's log that others hold, such as its peers
        #[arg(long, num_args = 1..)]
        checkpoint: Vec<PathBuf>,
        /// The verdict as JSON
        #[arg(long)]
        json: bool,
    },
    /// Writes the entries to standard output, one JSON object a line
    Export {
        /// The node's configuration
        #[arg(long, default_value = "kanon.toml")]
        config: PathBuf,
        /// From this entry on
        #[arg(long, default_value_t = 1)]
        since: i64,
        /// With the literals of statements
        #[arg(long)]
        literals: bool,
    },
    /// Writes the newest signed checkpoint to standard output
    Checkpoint {
        /// The node's configuration
        #[arg(long, default_value = "kanon.toml")]
        config: PathBuf,
        /// Of the log of this peer, as this node holds it, instead of its own
        #[arg(long)]
        of: Option<String>,
    },
}

/// What a backup is sealed with.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SecretArgs {
    /// A file with a key: 32 bytes, or 64 hexadecimal digits (openssl rand -out backup.key 32)
    #[arg(long)]
    pub key_file: Option<PathBuf>,
    /// A file whose first line is a passphrase of at least 12 characters
    #[arg(long)]
    pub passphrase_file: Option<PathBuf>,
}

/// Arguments of `kanon backup`.
#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The node's configuration
    #[arg(long, default_value = "kanon.toml")]
    pub config: PathBuf,
    /// The file to write; there must be none of that name
    #[arg(long)]
    pub to: PathBuf,
    #[command(flatten)]
    pub secret: SecretArgs,
}

/// Arguments of `kanon restore`.
#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long)]
    pub from: PathBuf,
    /// The folder for the node; nothing of a node may be in it
    #[arg(long)]
    pub dir: PathBuf,
    #[command(flatten)]
    pub secret: SecretArgs,
}

/// Arguments of `kanon doctor`.
#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// The node's configuration
    #[arg(long, default_value = "kanon.toml")]
    pub config: PathBuf,
    /// The findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// Plans and expressions are walked by recursion, and a statement may hold thousands of operators: threads get room for them.
const WORKER_STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(WORKER_STACK_BYTES).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kanon: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    // On a worker thread, so that it too has the large stack.
    let done = runtime.block_on(async { tokio::spawn(run(cli.command)).await });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("kanon: {error:#}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("kanon: stopped unexpectedly: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Init(args) => init::run(args).await,
        Command::Role(args) => role::run(args).await,
        Command::Node(args) => peers::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Sql(args) => client::run(args).await,
        Command::Backup(args) => backup::backup(args).await,
        Command::Restore(args) => backup::restore(args).await,
        Command::Doctor(args) => doctor::run(args).await,
    }
}
