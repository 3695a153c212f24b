//! The app on Hallporter's library.

use anyhow::Result;
use async_trait::async_trait;
use hallporter::adapters::url::BrokerUrl;
use hallporter::adapters::{Args, Emit, EventName, Target};
use hallporter::config::Config;
use hallporter::{Event, Gateway, Handler, Refusal, Socket};

use super::{ANY_PORT, listening, news};

pub(super) async fn serve(redis: Option<&str>) -> Result<()> {
    let mut config = Config {
        listen: ANY_PORT,
        ..Config::default()
    };
    if let Some(url) = redis {
        config.manager.url = BrokerUrl::parse(url)?;
    }
    let gateway = Gateway::new(config).handler(App).bind().await?;
    listening(gateway.address());
    Ok(gateway.serve(std::future::pending()).await?)
}

#[derive(Debug)]
struct App;

#[async_trait]
impl Handler for App {
    async fn connect(&self, socket: &Socket) -> Result<(), Refusal> {
        if let Some(room) = socket.handshake().auth["room"].as_str() {
            socket.join(room).map_err(|error| Refusal::new(error.to_string()))?;
        }
        Ok(())
    }

    async fn event(&self, socket: &Socket, event: Event) -> Option<Event> {
        match event.name.as_str() {
            "echo" => {
                let text = event.args.clone();
                event.ack_args(&text);
            }
            "broadcast" => broadcast(socket, &event.args).await.ok()?,
            _ => return Some(event),
        }
        None
    }
}

async fn broadcast(socket: &Socket, args: &Args) -> Result<()> {
    let (room, first, count): (String, u64, u64) = args.decode()?;
    for number in first..first + count {
        let emit = Emit {
            namespace: socket.namespace().into(),
            target: Target::room(room.clone()),
            event: EventName::new("news"),
            args: Args::encode(&news(number))?,
            volatile: false,
        };
        socket.manager().emit(emit).await?;
    }
    Ok(())
}
