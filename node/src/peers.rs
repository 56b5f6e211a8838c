//! `kanon node`: peers of a running node. It says in SQL what an operator could say in psql.

use anyhow::Result;

use crate::client::connect;
use crate::role::{one, text};
use crate::{NodeArgs, NodeCommand};

/// `kanon node`.
pub(crate) async fn run(args: NodeArgs) -> Result<()> {
    match args.command {
        NodeCommand::Invite { valid_for, connect: to } => {
            let valid_for = valid_for.map(|span| format!("valid_for => {}", text(&span))).unwrap_or_default();
            println!("{}", one(&connect(&to).await?, &format!("SELECT kanon.invite_node({valid_for})")).await?);
            eprintln!("It is a secret, good for one node: kanon node accept TOKEN there.");
        }
        NodeCommand::Accept { token, connect: to } => {
            let sql = format!("SELECT kanon.accept_invite({})", text(&token));
            println!("{}", one(&connect(&to).await?, &sql).await?);
        }
        NodeCommand::List { json, connect: to } => {
            let sql = "SELECT node_id, status, flight_endpoint, fingerprint, version, last_seen FROM kanon.nodes ORDER BY node_id";
            let (tables, _) = connect(&to).await?.ask(sql).await?;
            for table in tables {
                let lines = table.rows.iter().map(|row| match json {
                    true => {
                        let fields =
                            table.columns.iter().zip(row).map(|(name, value)| (name.clone(), value.clone().into()));
                        serde_json::Value::Object(fields.collect()).to_string()
                    }
                    false => row.iter().map(|value| value.as_deref().unwrap_or("-")).collect::<Vec<_>>().join("  "),
                });
                lines.for_each(|line| println!("{line}"));
            }
        }
        NodeCommand::Remove { id, connect: to } => {
            one(&connect(&to).await?, &format!("SELECT kanon.remove_node({})", text(&id))).await?;
            println!("Node {id} is no peer of this one any more. Have its operator remove this one there.");
        }
    }
    Ok(())
}
