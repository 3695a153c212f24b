//! The emitter, where it asks the cluster.

use std::time::Duration;

use anyhow::Result;
use hallporter_emitter::{Answers, Emitter};
use serde_json::json;

use crate::scene::Scene;

#[tokio::test]
async fn an_emitter_is_told_where_it_went_and_who_answered() -> Result<()> {
    let scene = Scene::start().await?;
    let [a, b] = scene.clients().await?;
    let patience = Duration::from_secs(5);
    for url in [scene.redis.url(), scene.hosts[1].url_with_key()] {
        let emitter = Emitter::connect(&url).await?;
        let receipt = emitter.emit_with_receipt("x", &1, patience).await?;
        assert_eq!(
            (receipt.sockets, receipt.gateways, receipt.missing.len()),
            (2, 2, 0),
            "{url}"
        );
        let asked = emitter.to(a.sid()).to(b.sid());
        let Answers { acks, missing, receipt } = asked.emit_with_ack("ask", "how?", patience).await?;
        assert_eq!((acks.len(), missing, receipt.sockets), (2, 0, 2), "{url}");
        for ack in acks {
            assert_eq!(ack.args.decode::<(String,)>()?, ("fine".to_owned(),));
            assert!([a.sid(), b.sid()].contains(&ack.sid.as_deref().unwrap_or_default()));
        }
        let nobody = emitter.of("/chat").emit_with_receipt("x", &json!({}), patience).await?;
        assert_eq!((nobody.sockets, nobody.gateways), (0, 2), "{url}");
    }
    Ok(())
}
