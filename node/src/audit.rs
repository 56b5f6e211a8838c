//! `kanon audit`: checks, exports and vouches for a node's audit log, whether the node runs or not.

use std::io::{BufWriter, Write as _};

use anyhow::{Context, Result, bail};
use kanon_engine::audit::LogReader;
use kanon_engine::config::Config;

use crate::{AuditArgs, AuditCommand};

/// `kanon audit`.
pub(crate) async fn run(args: AuditArgs) -> Result<()> {
    match args.command {
        AuditCommand::Verify { config, checkpoint, json } => {
            let log = LogReader::open(&Config::load(&config)?, false).await?;
            let held = checkpoint.iter().map(|file| {
                let note = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                Ok((note, file.display().to_string()))
            });
            let verdict = log.verify(held.collect::<Result<_>>()?).await?;
            if json {
                let (ok, seq) = (verdict.ok, verdict.first_bad_seq);
                println!("{}", serde_json::json!({"ok": ok, "first_bad_seq": seq, "detail": verdict.detail}));
            } else if verdict.ok {
                println!("ok: {}", verdict.detail);
            }
            if !verdict.ok {
                bail!("the audit log is not as it was written: {}", verdict.detail);
            }
            Ok(())
        }
        AuditCommand::Export { config, since, literals } => {
            let log = LogReader::open(&Config::load(&config)?, literals).await?;
            let mut out = BufWriter::new(std::io::stdout());
            let mut after = since.saturating_sub(1);
            while let (entries, Some(last)) = log.all_after(after).await? {
                for entry in entries {
                    writeln!(out, "{}", entry.to_json())?;
                }
                after = last;
            }
            Ok(out.flush()?)
        }
        AuditCommand::Checkpoint { config, of } => {
            let log = LogReader::open(&Config::load(&config)?, false).await?;
            match log.checkpoints(of.as_deref()).await?.first() {
                Some(note) => print!("{note}"),
                None => bail!("there is no checkpoint yet: a node signs one every minute in which there were entries"),
            }
            Ok(())
        }
    }
}
