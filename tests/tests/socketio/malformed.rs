//! What is no packet ends the connection, and nobody else notices.

use anyhow::{Context, Result, ensure};
use e2e::raw::WebSocket;
use e2e::{disconnect_reason, node_deviates, shared};
use serde_json::json;

/// Checks that these messages, text or binary data, close the connection as a parse error.
async fn refused(index: usize, messages: &[&str]) -> Result<()> {
    let tag = format!("malformed-{index}-{}", messages.concat());
    let mut socket = WebSocket::open(shared().await?).await?;
    socket.enter("/", json!({"tag": tag})).await?;
    for message in messages {
        match message.strip_prefix("binary ") {
            Some(data) => socket.send_binary(data.as_bytes()).await?,
            None => socket.send(message).await?,
        }
    }
    socket.closed().await?;
    let node = node_deviates("does not tell its handlers why it closes");
    let expected = if node { "forced close" } else { "parse error" };
    let reason = disconnect_reason(shared().await?, &tag).await?;
    ensure!(reason == expected, "the reason is {reason}");
    Ok(())
}

pub(super) async fn all_refused(cases: &[&[&str]]) -> Result<()> {
    for (index, messages) in cases.iter().enumerate() {
        refused(index, messages)
            .await
            .with_context(|| format!("{messages:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn unknown_types_and_payloads_are_refused() -> Result<()> {
    all_refused(&[
        &["4abc"],
        &["47"],
        &["49[\"message\"]"],
        &["42{}"],
        &["42[]"],
        &["42\"message\""],
        &["42null"],
        &["42[{}]"],
        &["42[null,1]"],
        &["42[[\"message\"]]"],
        &["42[\"message\""],
        &["42[\"message\"]x"],
        &["42[\"message\",]"],
        &["42['message']"],
        &["42[\"message\",NaN]"],
        &["42abc[\"message-with-ack\"]"],
        &["42-1[\"echo\"]"],
        &["421.5[\"echo\"]"],
        &["42/[\"message\"]"],
        &["431{}"],
        &["431\"x\""],
        &["40[]"],
        &["40\"token\""],
        &["40null"],
        &["41{}"],
        &["41[]"],
        &["44[]"],
    ])
    .await
}

#[tokio::test]
async fn attachments_that_do_not_fit_are_refused() -> Result<()> {
    all_refused(&[
        &["45[\"message\"]"],
        &["45-[\"message\"]"],
        &["451[\"message\"]"],
        &["45x-[\"message\"]"],
        &["46[]"],
        &["binary unannounced"],
        &["451-[\"message\",{\"_placeholder\":true,\"num\":0}]", "42[\"message\"]"],
        &[
            "452-[\"message\",{\"_placeholder\":true,\"num\":0}]",
            "binary one",
            "42[\"message\"]",
        ],
        &["451-[\"message\",{\"_placeholder\":true,\"num\":1}]", "binary one"],
        &["451-[\"message\",{\"_placeholder\":true,\"num\":-1}]", "binary one"],
        &["451-[\"message\",{\"_placeholder\":true,\"num\":\"0\"}]", "binary one"],
        &["451-[\"message\",{\"_placeholder\":true}]", "binary one"],
        &[
            "451-[\"message\",{\"_placeholder\":true,\"num\":0}]",
            "binary one",
            "binary two",
        ],
    ])
    .await
}

/// "The payload is mandatory and MUST be a non-empty array. If that's not the case, then the receiver MUST close the connection."
#[tokio::test]
async fn an_event_has_a_payload() -> Result<()> {
    if node_deviates("takes an event without a payload for an empty one, and is more patient with counts and numbers") {
        return Ok(());
    }
    all_refused(&[
        &["42"],
        &["4212"],
        &["42/,[]"],
        &["43"],
        &["451-["],
        &["45-1-[\"message\"]"],
        &["450x1-[\"message\"]"],
        &["451-[\"message\",{\"_placeholder\":true,\"num\":0.5}]", "binary one"],
        &["4299999999999999999999999999[\"echo\"]"],
    ])
    .await
}

#[tokio::test]
async fn more_attachments_than_anybody_needs_are_refused() -> Result<()> {
    all_refused(&[
        &["45999999999-[\"message\"]"],
        &["4599999999999999999999-[\"message\"]"],
    ])
    .await
}

#[tokio::test]
async fn deep_nesting_costs_at_most_the_connection() -> Result<()> {
    if node_deviates("throws what nobody catches") {
        return Ok(());
    }
    let mut socket = WebSocket::joined(shared().await?).await?;
    let depth = 400_000;
    let packet = format!("42[\"message\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    socket.send(&packet).await?;
    if let Ok(answer) = socket.text().await {
        assert_eq!(answer.len(), packet.len() + "-back".len());
    }
    let mut witness = WebSocket::joined(shared().await?).await?;
    assert_eq!(witness.ask("echo", json!(1)).await?, 1);
    Ok(())
}
